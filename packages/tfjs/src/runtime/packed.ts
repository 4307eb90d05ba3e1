// Small codes packed in f32 numbers, the one kind of tensor that every backend of TensorFlow.js has in full: 24 bits of a number are
// exact, so one holds 12 codes of 2 bits, 6 of 4 or 3 of 8.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

const BITS = 24;

export class PackedCodes {
  readonly rows: number;
  readonly columns: number;
  readonly #tf: typeof TensorFlow;
  /** [rows, words]: the sum of code i * 2^(bits i). */
  readonly #words: Tensor2D;
  /** [codes a word]: 2^-(bits i), exact. */
  readonly #shifts: Tensor1D;
  readonly #base: number;

  /** @param codes [rows, columns], each below 2^bits */
  constructor(
    tf: typeof TensorFlow,
    codes: Uint8Array,
    { rows, columns }: { readonly rows: number; readonly columns: number },
    bits: 2 | 4 | 8,
  ) {
    const each = BITS / bits;
    const width = Math.ceil(columns / each);
    const words = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++)
      for (let k = 0; k < columns; k++)
        words[row * width + Math.floor(k / each)]! += codes[row * columns + k]! * 2 ** (bits * (k % each));
    this.#tf = tf;
    this.rows = rows;
    this.columns = columns;
    this.#base = 2 ** bits;
    this.#words = tf.tensor2d(words, [rows, width]);
    this.#shifts = tf.tensor1d(Float32Array.from({ length: each }, (_, i) => 2 ** (-bits * i)));
  }

  get bytes(): number {
    return 4 * this.#words.size;
  }

  /** Codes [count, columns] of rows from `first` on. */
  rowsFrom(first: number, count: number): Tensor2D {
    return this.#expand(this.#tf.slice(this.#words, [first, 0], [count, -1]));
  }

  /** Codes [indices, columns]. @param indices int32 */
  gather(indices: Tensor1D): Tensor2D {
    return this.#expand(this.#tf.gather(this.#words, indices));
  }

  dispose(): void {
    this.#tf.dispose([this.#words, this.#shifts]);
  }

  #expand(words: Tensor2D): Tensor2D {
    const tf = this.#tf;
    return tf.tidy(() => {
      const count = words.shape[0];
      const shifted = tf.mul(tf.reshape(words, [count, -1, 1]), this.#shifts) as Tensor3D;
      // What a word has from a code on, less what it has beyond it.
      const beyond = tf.floor(tf.mul(shifted, 1 / this.#base));
      const codes = tf.sub(tf.floor(shifted), tf.mul(beyond, this.#base));
      const all = tf.reshape(codes, [count, -1]) as Tensor2D;
      return all.shape[1] === this.columns ? all : tf.slice(all, [0, 0], [count, this.columns]);
    });
  }
}
