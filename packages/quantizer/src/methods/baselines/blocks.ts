// What the baselines share: blocks of 128 columns from left to right, the errors of each spread over the columns behind
// (Frantar et al. 2022, arXiv 2210.17323, algorithm 1), and how their stored forms are counted.
import { DuobitError, f16ToF32, f32ToF16 } from '@duobit/format';
import { inverseCholesky, subtractProduct, type Workspace } from '../../linalg/index.ts';
import type { LayerProblem } from '../layer-method.ts';

/** Columns of a block, and of a group that shares scales: all papers compare at 128. */
export const BLOCK = 128;

/** What is added to the diagonal of H, as a part of its mean, in the official code of every method here. */
const DAMPING = 0.01;

/** A layer ready for the loop. */
export interface PreparedLayer {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  /** W [rows, columns], zero in dead columns; a copy, which the loop corrects. */
  readonly weights: Float32Array<ArrayBuffer>;
  /** U [columns, columns], the upper triangle with H^-1 = U^T U. */
  readonly u: Float64Array;
}

export interface ColumnBlock {
  /** Name of the weight, for messages. */
  readonly name: string;
  readonly rows: number;
  readonly first: number;
  readonly width: number;
  /** [rows, width], corrected for the errors of earlier blocks. */
  readonly values: Float32Array;
  /** The block [width, width] of U on the diagonal. */
  readonly u: Float64Array;
}

export interface QuantizedBlock {
  /** [rows, width] */
  readonly approximation: Float32Array;
  /** (w - q) / U_jj [rows, width]: what the columns behind the block make up for. */
  readonly errors: Float32Array;
}

/** @throws DuobitError `LINALG_NOT_FINITE` for weights or a Hessian with NaN or infinity; `LINALG_NOT_DEFINITE` */
export function prepareLayer(problem: LayerProblem, space: Workspace): PreparedLayer {
  checkWeights(problem);
  const { name, rows, columns } = problem;
  const weights = problem.weights.slice();
  const { u, dead } = inverseCholesky(space, Float64Array.from(problem.hessian), columns, {
    damping: DAMPING,
  });
  for (const column of dead) for (let row = 0; row < rows; row++) weights[row * columns + column] = 0;
  return { name, rows, columns, weights, u };
}

/** @throws DuobitError `LINALG_NOT_FINITE` */
export function checkWeights({ name, columns, weights }: LayerProblem): void {
  const broken = weights.findIndex((weight) => !Number.isFinite(weight));
  if (broken < 0) return;
  throw new DuobitError(
    'LINALG_NOT_FINITE',
    `row ${Math.floor(broken / columns)}, column ${broken % columns} of the weights is ${weights[broken]}`,
    { where: name, remedy: 'Check checkpoint and calibration text' },
  );
}

/** Quantizes block after block; returns the approximation [rows, columns]. */
export function quantizeByBlocks(
  layer: PreparedLayer,
  space: Workspace,
  quantize: (block: ColumnBlock) => QuantizedBlock,
): Float32Array {
  const { name, rows, columns, weights, u } = layer;
  const approximation = new Float32Array(rows * columns);
  for (let first = 0; first < columns; first += BLOCK) {
    const width = Math.min(BLOCK, columns - first);
    const values = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++) {
      const start = row * columns + first;
      values.set(weights.subarray(start, start + width), row * width);
    }
    const diagonal = new Float64Array(width * width);
    for (let j = 0; j < width; j++) {
      const start = (first + j) * columns + first;
      diagonal.set(u.subarray(start, start + width), j * width);
    }
    const done = quantize({ name, rows, first, width, values, u: diagonal });
    for (let row = 0; row < rows; row++) {
      const part = done.approximation.subarray(row * width, (row + 1) * width);
      approximation.set(part, row * columns + first);
    }
    const behind = columns - first - width;
    if (behind > 0)
      subtractProduct(
        space,
        { values: weights, offset: first + width, stride: columns },
        { values: done.errors },
        { values: u, offset: first * columns + first + width, stride: columns },
        rows,
        behind,
        width,
      );
  }
  return approximation;
}

/** For methods that quantize a block at once: its errors reach later blocks only. */
export function withBlockErrors(
  { rows, width, values, u }: ColumnBlock,
  approximation: Float32Array,
): QuantizedBlock {
  const errors = new Float32Array(rows * width);
  for (let row = 0, i = 0; row < rows; row++)
    for (let j = 0; j < width; j++, i++) errors[i] = (values[i]! - approximation[i]!) / u[j * width + j]!;
  return { approximation, errors };
}

/**
 * A number as f16 stores it.
 * @throws DuobitError `QUANTIZE_OUT_OF_RANGE`
 */
export function storeF16(value: number, name: string, row: number, column: number): number {
  const stored = f16ToF32(f32ToF16(value));
  if (Number.isFinite(stored)) return stored;
  throw new DuobitError(
    'QUANTIZE_OUT_OF_RANGE',
    `weights of row ${row} from column ${column} on are too large: a scale or mean of ${value} exceeds 65504, the largest f16`,
    { where: name, remedy: 'Check the checkpoint; trained weights are far smaller than this' },
  );
}

/** Bytes of one bit a weight, rows padded to 32 bits as in the container. */
export function planeBytes(rows: number, columns: number): number {
  return rows * 4 * Math.ceil(columns / 32);
}
