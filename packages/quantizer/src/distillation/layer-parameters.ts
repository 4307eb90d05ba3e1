// A W(1+1) layer as what training moves: latent weights that take their nearest level, or codes that are fixed; and the levels.
import type { Engine, Tensor2D, Variable } from '@duobit/tfjs';
import type { LayerResult } from '../methods/layer-method.ts';
import {
  type Pairing,
  packLevels,
  placesOf,
  readLevels,
  sortFour,
  storeLevels,
} from '../methods/w11-levels.ts';

export interface LayerShape {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  /** Four free levels, or levels symmetric about zero. */
  readonly offsets: boolean;
}

export class LayerParameters {
  readonly shape: LayerShape;
  /** [N, groups * 4] ascending at first; without offsets [N, groups * 2], the distances from zero of inner and outer levels. */
  readonly levels: Variable;
  /** Mean distance of the levels from zero at first: the unit of rates, so that one rate fits layers of any scale. */
  readonly unit: number;
  /** [N, K]; null where codes are fixed. */
  readonly latent: Variable | null;
  readonly #engine: Engine;
  /** [N, K] int32, where codes are fixed. */
  readonly #codes: Tensor2D | null;

  /**
   * @param weights what latent weights begin near, [N, K]; null fixes the codes
   * @param start part of the way from levels to weights
   */
  constructor(
    engine: Engine,
    shape: LayerShape,
    result: LayerResult,
    weights: Float32Array | null,
    start: number,
  ) {
    const { tf } = engine;
    const { rows, columns, groupSize, offsets } = shape;
    const groups = Math.ceil(columns / groupSize);
    this.#engine = engine;
    this.shape = shape;
    const { levels, codes } = readLevels(result.packed!, [rows, columns]);
    const kept = offsets ? levels : outerLevels(levels);
    this.unit = kept.reduce((sum, level) => sum + Math.abs(level), 0) / kept.length;
    // Tidied: a variable takes over the values, not the tensor that they came in.
    this.levels = tf.tidy(() => tf.variable(tf.tensor2d(kept, [rows, groups * (offsets ? 4 : 2)])));
    if (weights) {
      const latent = result.approximation.map((level, i) => level + start * (weights[i]! - level));
      this.latent = tf.tidy(() => tf.variable(tf.tensor2d(latent, [rows, columns])));
      this.#codes = null;
    } else {
      this.latent = null;
      this.#codes = tf.tensor2d(Int32Array.from(codes), [rows, columns], 'int32');
    }
  }

  /** W^ [N, K], differentiable. */
  weights(): Tensor2D {
    const { operations } = this.#engine;
    const { groupSize } = this.shape;
    const levels = this.#four();
    return this.latent
      ? operations.nearestLevels(this.latent as unknown as Tensor2D, levels, groupSize)
      : operations.chosenLevels(this.#codes!, levels, groupSize);
  }

  /** Rounded to what is stored. @throws DuobitError `QUANTIZE_OUT_OF_RANGE` */
  async harden(pairing: Pairing = 'nested'): Promise<LayerResult> {
    const { tf } = this.#engine;
    const { name, rows, columns, groupSize, offsets } = this.shape;
    const groups = Math.ceil(columns / groupSize);
    const four = tf.tidy(() => this.#four());
    const levels = new Float32Array(await four.data());
    four.dispose();
    // Training can make levels cross.
    const order = new Uint8Array(levels.length).map((_, i) => i & 3);
    for (let first = 0; first < levels.length; first += 4) sortFour(levels, order, first);
    const stored = storeLevels(levels, { offsets, pairing }, { name, groups, groupSize });
    const values = await (this.latent ?? this.#codes!).data();
    const indices = this.latent
      ? nearestIndices(values as Float32Array, stored.levels, this.shape)
      : movedIndices(values as Int32Array, order, this.shape);
    const { planes, approximation } = packLevels(stored, indices, { rows, columns, groupSize });
    const bytes = Object.values(planes).reduce((sum, plane) => sum + plane.length, 0);
    return { approximation, bytes, packed: { encoding: { kind: 'w11', groupSize, offsets }, planes } };
  }

  dispose(): void {
    this.#engine.tf.dispose([this.levels, this.latent, this.#codes].filter((tensor) => tensor !== null));
  }

  /** The four levels of every group [N, groups * 4]. */
  #four(): Tensor2D {
    const levels = this.levels as unknown as Tensor2D;
    if (this.shape.offsets) return levels;
    const { tf } = this.#engine;
    const [rows, width] = levels.shape;
    const pairs = tf.reshape(levels, [rows, width / 2, 2]);
    const four = tf.concat([tf.neg(tf.reverse(pairs, 2)), pairs], 2);
    return tf.reshape(four, [rows, width * 2]);
  }
}

/** Of symmetric levels -b, -a, a, b the upper two. */
function outerLevels(levels: Float32Array): Float32Array {
  return levels.filter((_, i) => (i & 2) !== 0);
}

/** Index of the nearest of four ascending levels; on a tie the lower. */
function nearestIndices(
  latent: Float32Array,
  levels: Float32Array,
  { rows, columns, groupSize }: LayerShape,
): Uint8Array {
  const groups = Math.ceil(columns / groupSize);
  const indices = new Uint8Array(latent.length);
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const first = (row * groups + group) * 4;
      const [a, b, c, d] = [levels[first]!, levels[first + 1]!, levels[first + 2]!, levels[first + 3]!];
      const [low, middle, high] = [(a + b) / 2, (b + c) / 2, (c + d) / 2];
      const end = row * columns + Math.min(columns, (group + 1) * groupSize);
      for (let i = row * columns + group * groupSize; i < end; i++) {
        const value = latent[i]!;
        indices[i] = value > middle ? (value > high ? 3 : 2) : value > low ? 1 : 0;
      }
    }
  return indices;
}

/** Where codes are after their levels have been sorted: `order` names the level that each place has now. */
function movedIndices(
  codes: Int32Array,
  order: Uint8Array,
  { rows, columns, groupSize }: LayerShape,
): Uint8Array {
  const groups = Math.ceil(columns / groupSize);
  const place = placesOf(order);
  const indices = new Uint8Array(codes.length);
  for (let row = 0, i = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, i++)
      indices[i] = place[(row * groups + Math.floor(column / groupSize)) * 4 + codes[i]!]!;
  return indices;
}
