// A W(1+1) layer as what training moves: its levels, and which of them its weights take.
import type { Engine, Tensor2D, Variable } from '@duobit/tfjs';
import type { LayerResult } from '../methods/layer-method.ts';
import { type Pairing, packLevels, readLevels, sortFour, storeLevels } from '../methods/w11-levels.ts';
import { FixedBits, type LayerBits, type LayerShape, NearestBits, RelaxedBits } from './layer-bits.ts';
import type { BlockStageOptions, Rates } from './options.ts';

export class LayerParameters {
  readonly shape: LayerShape;
  /** [N, groups * 4] ascending at first; without offsets [N, groups * 2], the distances from zero of inner and outer levels. */
  readonly levels: Variable;
  /** Mean distance of the levels from zero at first: the unit of rates, so that one rate fits layers of any scale. */
  readonly unit: number;
  readonly #engine: Engine;
  readonly #bits: LayerBits;

  /** @param weights what latent weights begin near, [N, K]; null fixes the codes */
  constructor(
    engine: Engine,
    shape: LayerShape,
    result: LayerResult,
    weights: Float32Array | null,
    { bits, latentStart }: Pick<BlockStageOptions, 'bits' | 'latentStart'>,
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
    const { approximation } = result;
    const Bits = bits === 'relaxed' ? RelaxedBits : NearestBits;
    this.#bits = weights
      ? new Bits(engine, shape, { codes, levels, unit: this.unit, approximation, weights, part: latentStart })
      : new FixedBits(engine, shape, codes);
  }

  /** Of all that moves, in the units of each. */
  rates({ levels, latent }: Rates): [Variable, number][] {
    return [
      [this.levels, levels * this.unit],
      ...this.#bits.moved.map(({ variable, unit }): [Variable, number] => [variable, latent * unit]),
    ];
  }

  /** W^ [N, K], differentiable. @param polarisation as of `LayerBits` */
  weights(polarisation = 0): Tensor2D {
    return this.#bits.weights(this.#four(), polarisation);
  }

  /** Rounded to what is stored. @throws DuobitError `QUANTIZE_OUT_OF_RANGE` */
  async harden(pairing: Pairing = 'nested'): Promise<LayerResult> {
    const { tf } = this.#engine;
    const { name, rows, columns, groupSize, offsets } = this.shape;
    const groups = Math.ceil(columns / groupSize);
    // A copy: with offsets the four are the variable itself.
    const four = tf.tidy(() => tf.clone(this.#four()));
    const levels = new Float32Array(await four.data());
    four.dispose();
    // Training can make levels cross.
    const order = new Uint8Array(levels.length).map((_, i) => i & 3);
    for (let first = 0; first < levels.length; first += 4) sortFour(levels, order, first);
    const stored = storeLevels(levels, { offsets, pairing }, { name, groups, groupSize });
    const indices = await this.#bits.indices(stored.levels, order);
    const { planes, approximation } = packLevels(stored, indices, { rows, columns, groupSize });
    const bytes = Object.values(planes).reduce((sum, plane) => sum + plane.length, 0);
    return { approximation, bytes, packed: { encoding: { kind: 'w11', groupSize, offsets }, planes } };
  }

  dispose(): void {
    this.levels.dispose();
    this.#bits.dispose();
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
