// A file as a sink: a temporary file beside it, made durable, then renamed over it. Whatever happens before the
// rename, an old file of that name stays as it was.
import { randomUUID } from 'node:crypto';
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { DuobitError } from './errors.ts';
import type { ByteSink } from './sink.ts';

const MOST_PER_WRITE = 1 << 30;

function sinkFailure(path: string, error: unknown): DuobitError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const facts = { source: path, cause: error };
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new DuobitError('SINK_FULL', 'there is no room left for the file; nothing was changed', {
      ...facts,
      remedy: 'Free some space or write to another disk',
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new DuobitError('SINK_PERMISSION', 'the folder may not be written to', {
      ...facts,
      remedy: 'Choose another folder or change its permissions',
    });
  }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new DuobitError('SINK_FOLDER_MISSING', `there is no folder ${dirname(path)}`, {
      ...facts,
      remedy: 'Make the folder first',
    });
  }
  return new DuobitError('SINK_IO', `writing failed: ${error instanceof Error ? error.message : error}`, {
    ...facts,
    remedy: 'Check the disk and the path, then try again',
  });
}

/** Follows a link to the file that it names, so that the link survives the rename. */
async function resolveTarget(path: string): Promise<string> {
  // Else it would fail at the rename, when all the work is done.
  if (path === '' || path.endsWith('/') || path.endsWith(sep)) {
    throw new DuobitError('SINK_NOT_A_FILE', path === '' ? 'the name is empty' : 'this names a folder', {
      source: path,
      remedy: 'Give the name of a file',
    });
  }
  const link = await lstat(path).catch(() => null);
  const target = link?.isSymbolicLink() ? await realpath(path).catch(() => path) : path;
  const existing = await stat(target).catch(() => null);
  if (existing && !existing.isFile()) {
    throw new DuobitError('SINK_NOT_A_FILE', 'a folder or device of this name exists', {
      source: path,
      remedy: 'Choose another name',
    });
  }
  return target;
}

/**
 * Begins a file. Nothing is visible under `path` before `finish`.
 * @throws DuobitError `SINK_FOLDER_MISSING`, `SINK_PERMISSION`, `SINK_NOT_A_FILE`, `SINK_FULL`, `SINK_IO`; its
 *   `write` and `finish` throw the same
 */
export async function createFileSink(path: string): Promise<ByteSink> {
  const target = await resolveTarget(path);
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`);
  try {
    return new FileSink(path, target, temporary, await open(temporary, 'wx'));
  } catch (error) {
    throw sinkFailure(path, error);
  }
}

class FileSink implements ByteSink {
  readonly name: string;
  readonly #target: string;
  readonly #temporary: string;
  #handle: FileHandle | null;

  constructor(name: string, target: string, temporary: string, handle: FileHandle) {
    this.name = name;
    this.#target = target;
    this.#temporary = temporary;
    this.#handle = handle;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const handle = this.#requireHandle();
    try {
      for (let done = 0; done < bytes.length; ) {
        const size = Math.min(MOST_PER_WRITE, bytes.length - done);
        done += (await handle.write(bytes, done, size, offset + done)).bytesWritten;
      }
    } catch (error) {
      throw sinkFailure(this.name, error);
    }
  }

  async finish(): Promise<void> {
    const handle = this.#requireHandle();
    try {
      await handle.sync();
      await handle.close();
      this.#handle = null;
      await rename(this.#temporary, this.#target);
    } catch (error) {
      await this.#discard();
      throw sinkFailure(this.name, error);
    }
    await this.#syncFolder();
  }

  async abort(): Promise<void> {
    if (this.#handle) await this.#discard();
  }

  #requireHandle(): FileHandle {
    if (!this.#handle) {
      throw new DuobitError('SINK_STATE', 'the sink is finished or aborted', { source: this.name });
    }
    return this.#handle;
  }

  async #discard(): Promise<void> {
    await this.#handle?.close().catch(() => {});
    this.#handle = null;
    await rm(this.#temporary, { force: true }).catch(() => {});
  }

  /** Makes the rename itself durable; not every system can, and the file is whole either way. */
  async #syncFolder(): Promise<void> {
    const folder = await open(dirname(this.#target), 'r').catch(() => null);
    await folder?.sync().catch(() => {});
    await folder?.close().catch(() => {});
  }
}
