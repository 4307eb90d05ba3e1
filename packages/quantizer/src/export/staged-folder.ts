// A folder of files that appears when all of them are complete: they are written to a temporary folder first.
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { DuobitError } from '@duobit/format';

export interface StagedFolder {
  /** Where the files are to be written. */
  readonly path: string;
  /** Moves them to their place. `last` is moved last and, where there is an old one, removed first. */
  publish(last: string): Promise<void>;
  /** Removes what was written. Never throws; does nothing after `publish`. */
  discard(): Promise<void>;
}

function folderFailure(folder: string, error: unknown): DuobitError {
  if (error instanceof DuobitError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const facts = { source: folder, cause: error };
  if (code === 'ENOENT') {
    return new DuobitError(
      'SINK_FOLDER_MISSING',
      `there is no folder ${path.dirname(path.resolve(folder))}`,
      {
        ...facts,
        remedy: 'Make the folder first',
      },
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new DuobitError('SINK_PERMISSION', 'the folder may not be written to', {
      ...facts,
      remedy: 'Choose another folder or change its permissions',
    });
  }
  return new DuobitError('SINK_IO', `writing failed: ${error instanceof Error ? error.message : error}`, {
    ...facts,
    remedy: 'Check the disk and the path, then try again',
  });
}

/** Entries of a folder, or null when there is none. */
async function listTarget(target: string): Promise<string[] | null> {
  const info = await stat(target).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw folderFailure(target, error);
  });
  if (info === null) return null;
  if (!info.isDirectory()) {
    throw new DuobitError('EXPORT_NOT_A_FOLDER', 'a file of this name exists', {
      source: target,
      remedy: 'Give the name of a new folder, or a name that ends in .safetensors for the tensors alone',
    });
  }
  return readdir(target).catch((error: unknown) => {
    throw folderFailure(target, error);
  });
}

export interface StageOptions {
  /** Write into a folder that is not empty. */
  readonly force: boolean;
  /** Old files that must go when the new ones come, because they would be read together with them. */
  readonly isStale: (file: string) => boolean;
}

/**
 * Begins a folder. A new one is made beside its place and renamed as a whole; into an existing one, the files are
 * renamed one by one, and files of other names stay.
 * @throws DuobitError `EXPORT_NOT_A_FOLDER`, `EXPORT_EXISTS`, `SINK_FOLDER_MISSING`, `SINK_PERMISSION`, `SINK_IO`
 */
export async function stageFolder(target: string, options: StageOptions): Promise<StagedFolder> {
  const existing = await listTarget(target);
  if (existing !== null && existing.length > 0 && !options.force) {
    throw new DuobitError('EXPORT_EXISTS', `the folder is not empty: it has ${existing.length} entries`, {
      source: target,
      remedy: 'Choose another folder, or add --force to replace the files of the model in it',
    });
  }
  const full = path.resolve(target);
  const temporary = `.${path.basename(full)}.${randomUUID()}.tmp`;
  // Inside an existing folder rather than beside it: the folder may be the root of a file system of its own.
  const staging = path.join(existing === null ? path.dirname(full) : full, temporary);
  try {
    await mkdir(staging);
  } catch (error) {
    throw folderFailure(target, error);
  }
  let published = false;
  return {
    path: staging,
    async publish(last) {
      try {
        if (existing === null) await rename(staging, full);
        else await moveInto(staging, full, last, options.isStale);
        published = true;
      } catch (error) {
        throw folderFailure(target, error);
      }
    },
    async discard() {
      if (!published) await rm(staging, { recursive: true, force: true }).catch(() => {});
    },
  };
}

async function moveInto(
  staging: string,
  target: string,
  last: string,
  isStale: StageOptions['isStale'],
): Promise<void> {
  const files = (await readdir(staging)).sort();
  await rm(path.join(target, last), { force: true });
  for (const old of await readdir(target)) {
    if (isStale(old) && !files.includes(old)) await rm(path.join(target, old), { force: true });
  }
  for (const file of [...files.filter((name) => name !== last), last]) {
    await rename(path.join(staging, file), path.join(target, file));
  }
  await rm(staging, { recursive: true });
}
