// Reads the weights of a plan for a backend that copies what it is given: the next one while the backend works on this one, and
// into the same memory again and again, as new memory costs more than to read into it.
import { type Allocate, createReadingBuffer, type TensorData } from '@duobit/format';
import type { WeightReader } from './backend.ts';

/** Larger tensors, embeddings as a rule, have memory of their own. */
const MOST_KEPT = 64 * 2 ** 20;
const ALIGNMENT = 8;

/** Memory for the planes of one tensor after another. */
class PlaneMemory {
  #memory = new ArrayBuffer(0);
  #used = 0;

  /** What was allocated before may be overwritten from now on. */
  reset(): void {
    if (this.#used > this.#memory.byteLength && this.#used <= MOST_KEPT)
      this.#memory = createReadingBuffer(this.#used);
    this.#used = 0;
  }

  readonly allocate: Allocate = (length) => {
    const start = this.#used;
    this.#used += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    return this.#used <= this.#memory.byteLength
      ? new Uint8Array(this.#memory, start, length)
      : new Uint8Array(this.#used > MOST_KEPT ? createReadingBuffer(length) : new ArrayBuffer(length));
  };
}

/**
 * Reads tensors in the order of their names.
 * @returns each with its name; its planes are good until the next is asked for
 * @throws DuobitError what `read` throws
 */
export async function* readWeights(
  names: readonly string[],
  read: WeightReader,
): AsyncGenerator<[name: string, data: TensorData], undefined> {
  const memories = [new PlaneMemory(), new PlaneMemory()] as const;
  const begin = (i: number): Promise<TensorData> | null => {
    if (i >= names.length) return null;
    const memory = memories[i % 2 === 0 ? 0 : 1];
    memory.reset();
    const reading = read(names[i]!, memory.allocate);
    // It is awaited later; a failure must not count as unhandled until then.
    reading.catch(() => {});
    return reading;
  };
  let next = begin(0);
  try {
    for (let i = 1; next; i++) {
      const data = await next;
      next = begin(i);
      yield [names[i - 1]!, data];
    }
  } finally {
    // The source is the caller's again.
    await next?.catch(() => {});
  }
}
