// Bytes in memory as a source.
import { DuobitError } from './errors.ts';
import type { ByteSource } from './source.ts';

/** The check that every source makes before it reads. @throws DuobitError `SOURCE_TRUNCATED` */
export function requireRange(name: string, size: number, offset: number, length: number): void {
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!valid || length > size || offset > size - length) {
    throw new DuobitError(
      'SOURCE_TRUNCATED',
      `${length} bytes at ${offset} are not inside its ${size} bytes`,
      {
        source: name,
        remedy: 'Download or copy the file again',
      },
    );
  }
}

/** Reads copy, so what they return owns its buffer. */
export function createMemorySource(bytes: Uint8Array, name = 'memory'): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(offset, length) {
      requireRange(name, bytes.length, offset, length);
      const copy = new Uint8Array(length);
      copy.set(bytes.subarray(offset, offset + length));
      return copy;
    },
    async readInto(offset, target) {
      requireRange(name, bytes.length, offset, target.length);
      target.set(bytes.subarray(offset, offset + target.length));
    },
    async close() {},
  };
}
