// A browser's Blob or File as a source: slices are read on demand, so a file of any size needs no memory of its own.
import { DuobitError } from './errors.ts';
import { requireRange } from './memory-source.ts';
import type { ByteSource } from './source.ts';

/**
 * `name` defaults to that of a File. In Node use `createFileSource` instead: the Blob of `fs.openAsBlob` gives
 * a wrong size and empty slices for files of 2 GiB or more (nodejs/node#52585).
 *
 * Reads throw `SOURCE_TRUNCATED`, `SOURCE_IO` when the file was changed or removed after it was picked, and
 * `SOURCE_CLOSED`.
 */
export function createBlobSource(blob: Blob, name?: string): ByteSource {
  const label = name ?? ('name' in blob && typeof blob.name === 'string' ? blob.name : 'blob');
  const { size } = blob;
  let closed = false;
  return {
    name: label,
    size,
    async read(offset, length) {
      requireRange(label, size, offset, length);
      if (closed) throw new DuobitError('SOURCE_CLOSED', 'the file is closed already', { source: label });
      let buffer: ArrayBuffer;
      try {
        buffer = await blob.slice(offset, offset + length).arrayBuffer();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new DuobitError('SOURCE_IO', `reading failed: ${reason}`, {
          source: label,
          remedy: 'Pick the file again: it was changed, moved or is no longer readable',
          cause: error,
        });
      }
      if (buffer.byteLength !== length) {
        const message = `${length} bytes at ${offset} were asked for, but ${buffer.byteLength} came`;
        throw new DuobitError('SOURCE_TRUNCATED', message, {
          source: label,
          remedy: 'Pick the file again; in Node, open it by its path',
        });
      }
      return new Uint8Array(buffer);
    },
    async close() {
      closed = true;
    },
  };
}
