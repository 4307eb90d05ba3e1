// Whether a file that is to be written is one that a checkpoint is read from, under whatever name: it would be lost.
import { readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { createFileSource } from '@duobit/format/node';
import type { Checkpoint } from './checkpoint.ts';

/** Containers in the folder of a checkpoint are no part of it, and may be written again. */
export async function isReadFrom({ kind, path: from }: Checkpoint, output: string): Promise<boolean> {
  if (path.resolve(output) === path.resolve(from)) return true;
  // The sink writes through a link, so it is the file behind it that counts.
  const target = await realpath(output).catch(() => null);
  if (target === null || (await isContainer(target))) return false;
  if (kind === 'gguf') return target === (await realpath(from).catch(() => null));
  const isFolder = (await stat(from).catch(() => null))?.isDirectory() === true;
  const folder = isFolder ? from : path.dirname(from);
  const names = await readdir(folder).catch(() => []);
  // Folders of the Hugging Face cache hold links to their files.
  const files = await Promise.all(names.map((name) => realpath(path.join(folder, name)).catch(() => null)));
  return files.includes(target);
}

async function isContainer(file: string): Promise<boolean> {
  // Which opens no pipe: that would wait for a writer for ever.
  const source = await createFileSource(file).catch(() => null);
  if (source === null) return false;
  try {
    const start = await source.read(0, Math.min(8, source.size));
    return String.fromCharCode(...start.subarray(4)) === 'DUO1';
  } catch {
    return false;
  } finally {
    await source.close();
  }
}
