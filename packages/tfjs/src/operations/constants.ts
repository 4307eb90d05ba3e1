// Tensors that operations need and that depend on shapes alone: made once, kept until the engine is disposed of.
import { rotateInput } from '@duobit/format';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

/** Low enough that exp() of it, added to any score, is 0 in f32; finite, so that no backend makes NaN of it. */
const HIDDEN = -1e9;

export class Constants {
  readonly #tf: typeof TensorFlow;
  readonly #kept = new Map<string, TensorFlow.Tensor>();

  constructor(tf: typeof TensorFlow) {
    this.#tf = tf;
  }

  #once<T extends TensorFlow.Tensor>(key: string, make: () => T): T {
    let tensor = this.#kept.get(key) as T | undefined;
    if (!tensor || tensor.isDisposed) {
      tensor = this.#tf.keep(make());
      this.#kept.set(key, tensor);
    }
    return tensor;
  }

  /** R [width, width]: row i is the rotation of the i-th unit vector. */
  rotation(width: number): Tensor2D {
    return this.#once(`rotation ${width}`, () => {
      const matrix = new Float32Array(width * width);
      for (let i = 0; i < width; i++) {
        const row = new Float64Array(width);
        row[i] = 1;
        rotateInput(row);
        matrix.set(row, i * width);
      }
      return this.#tf.tensor2d(matrix, [width, width]);
    });
  }

  /** [tokens, 1, pairs] each, for positions from 0. */
  angles(frequencies: Float64Array, tokens: number): { readonly cosine: Tensor3D; readonly sine: Tensor3D } {
    const pairs = frequencies.length;
    const of = (name: string, f: (angle: number) => number): Tensor3D =>
      this.#once(`${name} ${tokens} ${frequencies.join(' ')}`, () => {
        const values = new Float32Array(tokens * pairs);
        for (let t = 0; t < tokens; t++)
          for (let i = 0; i < pairs; i++) values[t * pairs + i] = f(t * frequencies[i]!);
        return this.#tf.tensor3d(values, [tokens, 1, pairs]);
      });
    return { cosine: of('cosine', Math.cos), sine: of('sine', Math.sin) };
  }

  /** [repeats * tokens, tokens]: 0 where a position may look, far below 0 elsewhere. */
  mask(tokens: number, span: number | null, repeats: number): Tensor2D {
    return this.#once(`mask ${tokens} ${span} ${repeats}`, () => {
      const values = new Float32Array(repeats * tokens * tokens).fill(HIDDEN);
      for (let row = 0; row < repeats * tokens; row++) {
        const t = row % tokens;
        const from = span === null ? 0 : Math.max(0, t - span + 1);
        values.fill(0, row * tokens + from, row * tokens + t + 1);
      }
      return this.#tf.tensor2d(values, [repeats * tokens, tokens]);
    });
  }
}
