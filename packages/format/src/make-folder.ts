// Folders with those above them. Node's own `mkdir` with `recursive` never returns where a file system has no room for folders, as /proc.
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder, and those above it that are not there.
 * @returns the first one that was made; undefined when all were there
 * @throws what `mkdir` of `node:fs/promises` throws
 */
export async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    await mkdir(folder);
    return folder;
  } catch (error) {
    if (await isFolder(folder)) return undefined;
    const parent = dirname(folder);
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!isMissing || parent === folder) throw error;
    // Another process may have made the parent meanwhile: once more, and no more than that.
    const first = await makeFolder(parent);
    const made = await mkdir(folder).catch(async (again: unknown) => {
      if (!(await isFolder(folder))) throw again;
      return null;
    });
    return first ?? (made === null ? undefined : folder);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}
