// Containers as commands use them: opened from a path with their data files, and output files that replace nothing
// unasked.
import { lstat } from 'node:fs/promises';
import { type Container, DuobitError, openContainer } from '@duobit/format';
import type { Context } from './context.ts';
import { type OpenOptions, openModelFile } from './models.ts';

/** Opens a container; data files are found beside it. @throws DuobitError as `openModelFile` and `openContainer` */
async function openContainerFile(context: Context, model: string, options: OpenOptions): Promise<Container> {
  const source = await openModelFile(context, model, options);
  try {
    return await openContainer(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Runs `work` on an opened container and closes it, whatever happens. */
export async function withContainer<T>(
  context: Context,
  model: string,
  options: OpenOptions,
  work: (container: Container) => Promise<T>,
): Promise<T> {
  const container = await openContainerFile(context, model, options);
  try {
    return await work(container);
  } finally {
    await container.close();
  }
}

/** @throws DuobitError `OUTPUT_EXISTS` when something of that name is there and may not be replaced */
export async function requireFreePath(path: string, force: boolean): Promise<void> {
  if (force || !(await lstat(path).catch(() => null))) return;
  throw new DuobitError('OUTPUT_EXISTS', 'something of this name exists', {
    source: path,
    remedy: 'Choose another name, or add --force to replace it',
  });
}
