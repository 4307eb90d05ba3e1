// Whether a file that is to be written is one that a checkpoint is read from, under whatever name: it would be lost.
import { readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { createFileSource } from '@duobit/format/node';
import { INDEX_FILE, WEIGHTS_FILE } from './hf-folder.ts';

/**
 * Whether `output` names a file of the checkpoint at the path `from`, or in its folder. Containers, recipes and reports there
 * are no part of it, and may be written again.
 */
export async function isReadFrom(from: string, output: string): Promise<boolean> {
  if (path.resolve(output) === path.resolve(from)) return true;
  // The sink writes through a link, so it is the file behind it that counts.
  const target = await realpath(output).catch(() => null);
  if (target === null || (await isOurs(target))) return false;
  const isFolder = (await stat(from).catch(() => null))?.isDirectory() === true;
  if (!isFolder && !['config.json', WEIGHTS_FILE, INDEX_FILE].includes(path.basename(from)))
    return target === (await realpath(from).catch(() => null));
  const folder = isFolder ? from : path.dirname(from);
  const names = await readdir(folder).catch(() => []);
  // Folders of the Hugging Face cache hold links to their files.
  const files = await Promise.all(names.map((name) => realpath(path.join(folder, name)).catch(() => null)));
  return files.includes(target);
}

/** How what `quantize` writes begins: a container, a recipe, a report. */
const OURS = /^(.{4}DUO1|\{\s*"format":\s*"duobit-recipe"|<!doctype html>)/s;

async function isOurs(file: string): Promise<boolean> {
  // Which opens no pipe: that would wait for a writer for ever.
  const source = await createFileSource(file).catch(() => null);
  if (source === null) return false;
  try {
    const start = await source.read(0, Math.min(64, source.size));
    return OURS.test(String.fromCharCode(...start));
  } catch {
    return false;
  } finally {
    await source.close();
  }
}
