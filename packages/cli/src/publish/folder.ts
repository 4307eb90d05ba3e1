// Publishing to a folder that any static host can serve: model, hashes, card, headers, and the chat page with this model in it.
import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { DuobitError } from '@duobit/format';
import { createFileSink, createFileSource, makeFolder } from '@duobit/format/node';
import { requireFreePath } from '../containers.ts';
import type { Context } from '../context.ts';
import { hashSource } from '../file-hash.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import type { PublishedFile } from './model.ts';

const PIECE = 4 * 2 ** 20;

export function textFile(name: string, text: string): PublishedFile {
  const bytes = Buffer.from(text);
  return {
    name,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    content: { text },
  };
}

/**
 * Threads need a page that is isolated from other origins; pages of others may read the model. Netlify and Cloudflare Pages read this
 * file; other hosts need the same by their own means. No header has two rules for one file, as hosts would join them.
 */
export const HEADERS = `/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Content-Security-Policy: frame-ancestors 'none'
  X-Content-Type-Options: nosniff
${['/*.duo', '/*.duodata']
  .map(
    (path) => `${path}
  Content-Type: application/octet-stream
  Access-Control-Allow-Origin: *
  Access-Control-Expose-Headers: Content-Range, ETag, Last-Modified
  Cross-Origin-Resource-Policy: cross-origin
`,
  )
  .join('')}`;

/** In the form of the program sha256sum, which checks it with `-c`. */
export function renderSums(files: readonly PublishedFile[]): string {
  return files.map(({ sha256, name }) => `${sha256}  ${name}\n`).join('');
}

/** The built chat page that came with `@duobit/runtime-web`. @throws DuobitError `PAGE_MISSING` */
export async function findPage(): Promise<string> {
  const entry = createRequire(import.meta.url).resolve('@duobit/runtime-web');
  const folder = join(dirname(entry), 'page');
  return await requirePage(folder);
}

/** @throws DuobitError `PAGE_MISSING` */
export async function requirePage(folder: string): Promise<string> {
  if ((await stat(join(folder, 'index.html')).catch(() => null))?.isFile()) return folder;
  throw new DuobitError('PAGE_MISSING', 'there is no built chat page', {
    source: folder,
    remedy: 'Run `npm run build` in a working tree, name a folder with --page, or do without it: --no-page',
  });
}

/** Files of a built page, with paths relative to it; without `model.json`, which says whose page it is. */
export async function listPage(folder: string): Promise<PublishedFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const listed = await Promise.all(
    files.map(async (path) => {
      const bytes = await readFile(path);
      return {
        name: relative(folder, path).split(sep).join('/'),
        bytes: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
        content: { path },
      };
    }),
  );
  return listed.filter(({ name }) => name !== 'model.json');
}

export interface FolderPlan {
  /** To be written. */
  readonly add: readonly PublishedFile[];
  /** Names of files that are there with these bytes, from the same command or from one that was cut short. */
  readonly same: readonly string[];
}

/** @throws DuobitError `OUTPUT_EXISTS` for a file that would be replaced, but with `force` */
export async function planFolder(
  folder: string,
  files: readonly PublishedFile[],
  force: boolean,
): Promise<FolderPlan> {
  const add: PublishedFile[] = [];
  const same: string[] = [];
  for (const file of files) {
    const path = join(folder, file.name);
    if (await isThere(path, file)) same.push(file.name);
    else {
      await requireFreePath(path, force);
      add.push(file);
    }
  }
  return { add, same };
}

async function isThere(path: string, { bytes, sha256 }: PublishedFile): Promise<boolean> {
  const facts = await lstat(path).catch(() => null);
  if (!facts?.isFile() || facts.size !== bytes || bytes === 0) return false;
  const source = await createFileSource(path);
  try {
    return (await hashSource(source)) === sha256;
  } finally {
    await source.close();
  }
}

/**
 * Writes files into a folder, each under its name only once it is whole. The container's comes when its data files are there.
 * @throws DuobitError what sinks throw
 */
export async function writeFolder(
  context: Context,
  folder: string,
  files: readonly PublishedFile[],
): Promise<void> {
  const progress = createProgress(context.io, { lines: { write: 3 } });
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const isContainer = ({ name }: PublishedFile) => name.endsWith('.duo');
  const ordered = [...files.filter((file) => !isContainer(file)), ...files.filter(isContainer)];
  let done = 0;
  try {
    for (const file of ordered) {
      const path = join(folder, file.name);
      await makeFolder(dirname(path));
      await writeFile(path, file, (length) => {
        done += length;
        checkAborted(context.signal);
        progress.update('write', done, total);
      });
    }
  } finally {
    progress.stop();
  }
}

async function writeFile(
  path: string,
  { content }: PublishedFile,
  onBytes: (length: number) => void,
): Promise<void> {
  const sink = await createFileSink(path);
  try {
    if ('text' in content) {
      const bytes = new TextEncoder().encode(content.text);
      await sink.write(0, bytes);
      onBytes(bytes.length);
    } else {
      const source = await createFileSource(content.path);
      try {
        for (let done = 0; done < source.size; done += PIECE) {
          const bytes = await source.read(done, Math.min(PIECE, source.size - done));
          await sink.write(done, bytes);
          onBytes(bytes.length);
        }
      } finally {
        await source.close();
      }
    }
    await sink.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** Data files of an earlier version of the model, which nothing names any more. */
export async function removeStale(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rm(join(folder, name), { force: true });
}
