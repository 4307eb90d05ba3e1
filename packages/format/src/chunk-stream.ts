// Chunks cut from one long read as their bytes come: while one is hashed and stored, the next is received.
import type { ChunkPlace } from './chunk-places.ts';
import type { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import { type ByteSource, type OnBytes, readInto } from './source.ts';

/** A fixed number of buffers: whoever wants one when all are in use waits, and so does the network behind it. */
export class ChunkBuffers {
  readonly #size: number;
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  readonly #waiting: { resolve(buffer: Uint8Array<ArrayBuffer>): void; reject(reason: unknown): void }[] = [];
  #left: number;
  #closed: DuobitError | null = null;

  constructor(count: number, size: number) {
    this.#left = count;
    this.#size = size;
  }

  /** @throws what `close` was given */
  take(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#closed) return Promise.reject(this.#closed);
    const free = this.#free.pop();
    if (free) return Promise.resolve(free);
    if (this.#left > 0) {
      this.#left--;
      return Promise.resolve(new Uint8Array(this.#size));
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Returns a buffer, which whoever waits for one gets. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    const next = this.#waiting.shift();
    if (next) next.resolve(buffer);
    else if (!this.#closed) this.#free.push(buffer);
  }

  /** Lets no more buffers out: whoever waits gets the reason. */
  close(reason: DuobitError): void {
    this.#closed ??= reason;
    this.#free.length = 0;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#closed);
  }
}

export interface StreamEvents {
  /** So many bytes of a chunk came. */
  onBytes(place: ChunkPlace, length: number): void;
  /** A whole chunk came, at the start of the buffer, which is the callee's from then on. Waited for before the next but one. */
  onChunk(place: ChunkPlace, buffer: Uint8Array<ArrayBuffer>): Promise<void>;
}

/**
 * Reads a run of chunks of one file. When it throws, `onChunk` has ended for all chunks that came whole.
 * @throws what the source and `onChunk` throw, and the reason of closed buffers
 */
export async function streamChunks(
  source: ByteSource,
  run: readonly ChunkPlace[],
  buffers: ChunkBuffers,
  { onBytes, onChunk }: StreamEvents,
): Promise<void> {
  let [index, at, filled] = [0, run[0]!.offset, 0];
  let buffer: Uint8Array<ArrayBuffer> | null = null;
  let settling: Promise<void> = Promise.resolve();
  const accept = async (piece: Uint8Array): Promise<void> => {
    for (let done = 0; done < piece.length; ) {
      const place = run[index]!;
      const rest = piece.length - done;
      // Padding is zero or not: whether it is, only a validator asks.
      const skipped = Math.min(Math.max(0, place.offset - at), rest);
      const taken = Math.min(place.length - filled, rest - skipped);
      if (taken > 0) {
        buffer ??= await buffers.take();
        buffer.set(piece.subarray(done + skipped, done + skipped + taken), filled);
        filled += taken;
        onBytes(place, taken);
      }
      at += skipped + taken;
      done += skipped + taken;
      if (buffer === null || filled < place.length) continue;
      await settling;
      settling = onChunk(place, buffer);
      settling.catch(() => {});
      [index, filled, buffer] = [index + 1, 0, null];
    }
  };
  const last = run.at(-1)!;
  try {
    await readRange(source, at, last.offset + last.length - at, accept);
  } finally {
    await settling.catch(() => {});
    if (buffer) buffers.give(buffer);
  }
  await settling;
}

/** Any source as a stream. */
async function readRange(
  source: ByteSource,
  offset: number,
  length: number,
  onBytes: OnBytes,
): Promise<void> {
  if (source.stream) return source.stream(offset, length, onBytes);
  const piece = new Uint8Array(Math.min(length, LIMITS.chunkBytes));
  for (let done = 0; done < length; done += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, length - done));
    await readInto(source, offset + done, part);
    await onBytes(part);
  }
}
