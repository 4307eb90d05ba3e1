// Containers as commands use them: opened from a path with their data files, and output files that replace nothing
// unasked.
import { lstat } from 'node:fs/promises';
import { type Container, DuobitError, openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';

/** Opens a container; data files are found beside it. @throws DuobitError as `createFileSource` and `openContainer` */
export async function openContainerFile(path: string): Promise<Container> {
  const source = await createFileSource(path);
  try {
    return await openContainer(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Runs `work` on an opened container and closes it, whatever happens. */
export async function withContainer<T>(path: string, work: (container: Container) => Promise<T>): Promise<T> {
  const container = await openContainerFile(path);
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
