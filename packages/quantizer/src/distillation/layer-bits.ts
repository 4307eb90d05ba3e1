// Which of its group's four levels each weight of a layer takes, as what training moves: a latent weight that takes the nearest
// level, a sign with a relaxed bitmap (LBLLM, "WAT"), or codes that are fixed.
import type { Engine, Tensor2D, Variable } from '@duobit/tfjs';
import { placesOf } from '../methods/w11-levels.ts';

export interface LayerShape {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  /** Four free levels, or levels symmetric about zero. */
  readonly offsets: boolean;
}

export interface LayerBits {
  /** What moves, with what it is measured in: rates are in this unit. */
  readonly moved: readonly { readonly variable: Variable; readonly unit: number }[];
  /**
   * W^ [N, K], differentiable.
   * @param levels [N, groups * 4]
   * @param polarisation pushes a relaxed bitmap towards 0 and 1 (`Operations.relaxedLevels`)
   */
  weights(levels: Tensor2D, polarisation: number): Tensor2D;
  /**
   * Of each weight the place of its level among the four stored, ascending.
   * @param stored [N, groups, 4]
   * @param order names the level that each stored place held before they were sorted
   */
  indices(stored: Float32Array, order: Uint8Array): Promise<Uint8Array>;
  dispose(): void;
}

/** What bits begin as. */
export interface LayerStart {
  /** [N, K], indices of levels that ascend. */
  readonly codes: Uint8Array;
  /** [N, groups * 4] */
  readonly levels: Float32Array;
  /** Mean distance of the levels from zero. */
  readonly unit: number;
  /** [N, K]: the level of each weight, and what latent weights begin near. */
  readonly approximation: Float32Array;
  readonly weights: Float32Array;
  /** Part of the way from levels to weights. */
  readonly part: number;
}

export class NearestBits implements LayerBits {
  readonly moved: LayerBits['moved'];
  readonly #engine: Engine;
  readonly #shape: LayerShape;
  /** [N, K] */
  readonly #latent: Variable;

  constructor(engine: Engine, shape: LayerShape, { approximation, weights, part, unit }: LayerStart) {
    this.#engine = engine;
    this.#shape = shape;
    const latent = approximation.map((level, i) => level + part * (weights[i]! - level));
    this.#latent = makeVariable(engine, latent, shape);
    this.moved = [{ variable: this.#latent, unit }];
  }

  weights(levels: Tensor2D): Tensor2D {
    const latent = this.#latent as unknown as Tensor2D;
    return this.#engine.operations.nearestLevels(latent, levels, this.#shape.groupSize);
  }

  async indices(stored: Float32Array): Promise<Uint8Array> {
    return nearestIndices((await this.#latent.data()) as Float32Array, stored, this.#shape);
  }

  dispose(): void {
    this.#latent.dispose();
  }
}

export class FixedBits implements LayerBits {
  readonly moved = [];
  readonly #engine: Engine;
  readonly #shape: LayerShape;
  /** [N, K] int32 */
  readonly #codes: Tensor2D;

  constructor(engine: Engine, shape: LayerShape, codes: Uint8Array) {
    this.#engine = engine;
    this.#shape = shape;
    this.#codes = engine.tf.tensor2d(Int32Array.from(codes), [shape.rows, shape.columns], 'int32');
  }

  weights(levels: Tensor2D): Tensor2D {
    return this.#engine.operations.chosenLevels(this.#codes, levels, this.#shape.groupSize);
  }

  async indices(_: Float32Array, order: Uint8Array): Promise<Uint8Array> {
    return movedIndices((await this.#codes.data()) as Int32Array, order, this.#shape);
  }

  dispose(): void {
    this.#codes.dispose();
  }
}

/** A sign and a relaxed bitmap, which say which of the inner or the outer two levels a weight takes: `Operations.relaxedLevels`. */
export class RelaxedBits implements LayerBits {
  readonly moved: LayerBits['moved'];
  readonly #engine: Engine;
  readonly #shape: LayerShape;
  /** [N, K]: the weight's distance from the middle of the inner levels at first. */
  readonly #latent: Variable;
  /** [N, K]: G */
  readonly #bitmap: Variable;

  constructor(engine: Engine, shape: LayerShape, start: LayerStart) {
    this.#engine = engine;
    this.#shape = shape;
    const { latent, bitmap } = relax(shape, start);
    this.#latent = makeVariable(engine, latent, shape);
    this.#bitmap = makeVariable(engine, bitmap, shape);
    this.moved = [
      { variable: this.#latent, unit: start.unit },
      { variable: this.#bitmap, unit: 1 },
    ];
  }

  weights(levels: Tensor2D, polarisation: number): Tensor2D {
    const [latent, bitmap] = [this.#latent, this.#bitmap] as unknown as [Tensor2D, Tensor2D];
    return this.#engine.operations.relaxedLevels(latent, bitmap, levels, this.#shape.groupSize, polarisation);
  }

  async indices(_: Float32Array, order: Uint8Array): Promise<Uint8Array> {
    const latent = (await this.#latent.data()) as Float32Array;
    const bitmap = (await this.#bitmap.data()) as Float32Array;
    const codes = Int32Array.from(latent, (value, i) => {
      const sign = value > 0 ? 1 : 0;
      return bitmap[i]! > 0.5 ? 3 * sign : 1 + sign;
    });
    return movedIndices(codes, order, this.#shape);
  }

  dispose(): void {
    this.#engine.tf.dispose([this.#latent, this.#bitmap]);
  }
}

/** Latent weights and relaxed bitmap at first: the part of the way from what codes say to what the weights would have. */
function relax(
  { rows, columns, groupSize }: LayerShape,
  { codes, levels, approximation, weights, part }: LayerStart,
): { latent: Float32Array; bitmap: Float32Array } {
  const groups = Math.ceil(columns / groupSize);
  const latent = new Float32Array(codes.length);
  const bitmap = new Float32Array(codes.length);
  for (let row = 0, i = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, i++) {
      const first = (row * groups + Math.floor(column / groupSize)) * 4;
      const four = levels.subarray(first, first + 4);
      const code = codes[i]!;
      const level = approximation[i]!;
      latent[i] = level + part * (weights[i]! - level) - (four[1]! + four[2]!) / 2;
      const [inner, outer] = code < 2 ? [four[1]!, four[0]!] : [four[2]!, four[3]!];
      const between = outer === inner ? 0 : (weights[i]! - inner) / (outer - inner);
      const own = code === 0 || code === 3 ? 1 : 0;
      bitmap[i] = own + part * (Math.min(1, Math.max(0, between)) - own);
    }
  return { latent, bitmap };
}

function makeVariable({ tf }: Engine, values: Float32Array, { rows, columns }: LayerShape): Variable {
  // Tidied: a variable takes over the values, not the tensor that they came in.
  return tf.tidy(() => tf.variable(tf.tensor2d(values, [rows, columns])));
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
