// Whole files in the origin private file system (OPFS), written and read at once. Browsers differ in how: in workers all have
// synchronous handles, on a page's own thread Chromium and Firefox have `createWritable`, Safari from version 26 on.

/** Of `FileSystemFileHandle` in workers only, so not in TypeScript's library for pages. Before Safari 16.4 it gave promises. */
interface SyncAccessHandle {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void | Promise<void>;
  close(): void | Promise<void>;
}

type FileHandle = FileSystemFileHandle & { createSyncAccessHandle?(): Promise<SyncAccessHandle> };

/** Whether this thread of this browser can write files. */
export function canWriteFiles(): boolean {
  const { prototype } = globalThis.FileSystemFileHandle ?? {};
  return prototype !== undefined && ('createWritable' in prototype || 'createSyncAccessHandle' in prototype);
}

/**
 * Writes a whole file. Where it fails, or the page is closed meanwhile, a new file is shorter than it should be; one that was there
 * may have the beginning of the new bytes.
 * @throws DOMException `QuotaExceededError`, `NoModificationAllowedError` while another tab writes it, …
 */
export async function writeFile(
  folder: FileSystemDirectoryHandle,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const file: FileHandle = await folder.getFileHandle(name, { create: true });
  if (file.createSyncAccessHandle) {
    const access = await file.createSyncAccessHandle();
    try {
      for (let done = 0; done < bytes.length; ) {
        const written = access.write(bytes.subarray(done), { at: done });
        if (written === 0) throw new DOMException('no byte was written', 'QuotaExceededError');
        done += written;
      }
      await access.truncate(bytes.length);
    } finally {
      await access.close();
    }
    return;
  }
  const writable = await file.createWritable();
  try {
    await writable.write(bytes);
    await writable.close();
  } catch (error) {
    await writable.abort().catch(() => {});
    throw error;
  }
}

/** @returns null where there is no such file, it has another length than asked for, or cannot be read */
export async function readFile(
  folder: FileSystemDirectoryHandle,
  name: string,
  length?: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    const file = await (await folder.getFileHandle(name)).getFile();
    if (length !== undefined && file.size !== length) return null;
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    return null;
  }
}
