// SHA-256 of a whole file, in constant memory.
import { createHash } from 'node:crypto';
import type { ByteSource } from '@duobit/format';

/** Bytes read at once. */
const PIECE = 4 * 2 ** 20;

/** What `onProgress` throws ends the work. @throws what the source throws */
export async function hashSource(
  source: ByteSource,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<string> {
  const hash = createHash('sha256');
  for (let done = 0; done < source.size; ) {
    const size = Math.min(PIECE, source.size - done);
    hash.update(await source.read(done, size));
    done += size;
    onProgress(done, source.size);
  }
  return hash.digest('hex');
}
