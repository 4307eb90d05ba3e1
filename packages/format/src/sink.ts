// Where a container's bytes go: anything that takes writes at positions and then publishes or discards the whole.
import { DuobitError } from './errors.ts';

/** Random-access output. Calls do not overlap. */
export interface ByteSink {
  /** What is written, for messages: a path. */
  readonly name: string;
  /** Writes all bytes at `offset`; every byte of the result is written exactly once. May not keep `bytes`. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Makes the whole visible at once; before it, nothing is. */
  finish(): Promise<void>;
  /** Discards everything. Never throws; does nothing after `finish`. */
  abort(): Promise<void>;
}

export interface MemorySink extends ByteSink {
  /** What was written. @throws DuobitError `SINK_STATE` before `finish` */
  bytes(): Uint8Array<ArrayBuffer>;
}

/** A sink that keeps everything in memory, for browsers and tests. */
export function createMemorySink(name = 'memory'): MemorySink {
  let buffer = new Uint8Array(65_536);
  let length = 0;
  let result: Uint8Array<ArrayBuffer> | null = null;
  return {
    name,
    async write(offset, bytes) {
      const end = offset + bytes.length;
      if (end > buffer.length) {
        const grown = new Uint8Array(Math.max(end, 2 * buffer.length));
        grown.set(buffer);
        buffer = grown;
      }
      buffer.set(bytes, offset);
      length = Math.max(length, end);
    },
    async finish() {
      result = buffer.slice(0, length);
    },
    async abort() {
      buffer = new Uint8Array(0);
      length = 0;
    },
    bytes() {
      if (!result) throw new DuobitError('SINK_STATE', 'the sink is not finished', { source: name });
      return result;
    },
  };
}
