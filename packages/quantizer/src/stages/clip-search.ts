// Clips of a linear input's 4-bit quantizer: how much of a row's range its 16 codes should cover.
import type { ActivationQuantizer } from '@duobit/format';
import { subtractProduct, type Workspace } from '../linalg/index.ts';

/** Covers the whole range of each row. */
export const PLAIN_QUANTIZER: ActivationQuantizer = {
  bits: 4,
  clipLow: 1,
  clipHigh: 1,
  knee: null,
  planeScales: null,
};

/** Tried for each end in turn, then the best one's neighbours. */
const CANDIDATES = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4];
const NEIGHBOUR = 0.05;

/**
 * The clips that leave the least squared error of the outputs of all layers that read the input, sum |W (x - x^)|^2 over
 * sample rows x. One end at a time.
 *
 * @param samples X [rows, columns] f32
 * @param weights W [N, columns] of each layer, as quantized
 */
export function searchClips(
  samples: Float32Array,
  columns: number,
  weights: readonly Float32Array[],
  space: Workspace,
): ActivationQuantizer {
  const rows = samples.length / columns;
  const outputError = measureOutputs(weights, columns, space);
  const difference = new Float32Array(samples.length);
  const lossOf = (clipLow: number, clipHigh: number): number => {
    for (let row = 0; row < rows; row++)
      roundingError(samples, row * columns, columns, clipLow, clipHigh, difference);
    return outputError(difference, rows);
  };
  let [clipLow, clipHigh] = [1, 1];
  let least = lossOf(1, 1);
  const tryLow = (candidate: number): void => {
    const loss = candidate <= 1 ? lossOf(candidate, clipHigh) : Number.POSITIVE_INFINITY;
    if (loss < least) [least, clipLow] = [loss, candidate];
  };
  const tryHigh = (candidate: number): void => {
    const loss = candidate <= 1 ? lossOf(clipLow, candidate) : Number.POSITIVE_INFINITY;
    if (loss < least) [least, clipHigh] = [loss, candidate];
  };
  const neighbours = (clip: number): number[] =>
    [clip - NEIGHBOUR, clip + NEIGHBOUR].map((near) => Math.round(near * 100) / 100);
  CANDIDATES.slice(1).forEach(tryLow);
  neighbours(clipLow).forEach(tryLow);
  CANDIDATES.slice(1).forEach(tryHigh);
  neighbours(clipHigh).forEach(tryHigh);
  // The other end has been chosen since.
  neighbours(clipLow).forEach(tryLow);
  return { ...PLAIN_QUANTIZER, clipLow, clipHigh };
}

/** sum |W d|^2 over the rows d of a matrix: by W itself, or by the sum of W^T W where that is smaller. */
function measureOutputs(
  weights: readonly Float32Array[],
  columns: number,
  space: Workspace,
): (difference: Float32Array, rows: number) => number {
  const outputs = weights.reduce((sum, matrix) => sum + matrix.length / columns, 0);
  const width = Math.min(outputs, columns);
  const factor =
    outputs < columns ? negativeTranspose(weights, outputs, columns) : addMetrics(weights, columns, space);
  return (difference, rows) => {
    const product = new Float32Array(rows * width);
    subtractProduct(
      space,
      { values: product },
      { values: difference },
      { values: factor },
      rows,
      width,
      columns,
    );
    let loss = 0;
    if (outputs < columns) for (const value of product) loss += value * value;
    else for (let i = 0; i < product.length; i++) loss -= difference[i]! * product[i]!;
    return loss;
  };
}

/** -W^T [columns, outputs] of the matrices one below the other. */
function negativeTranspose(weights: readonly Float32Array[], outputs: number, columns: number): Float32Array {
  const transposed = new Float32Array(columns * outputs);
  let first = 0;
  for (const matrix of weights) {
    const rows = matrix.length / columns;
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        transposed[column * outputs + first + row] = -matrix[row * columns + column]!;
    first += rows;
  }
  return transposed;
}

/** sum W^T W [columns, columns] */
function addMetrics(weights: readonly Float32Array[], columns: number, space: Workspace): Float32Array {
  const metric = new Float32Array(columns * columns);
  for (const matrix of weights) {
    const rows = matrix.length / columns;
    subtractProduct(
      space,
      { values: metric },
      { values: negativeTranspose([matrix], rows, columns) },
      { values: matrix },
      columns,
      columns,
      rows,
    );
  }
  return metric;
}

/** out = x - x^ of one row, docs/numerics.md "Activations" but for ties, which a search need not break to even. */
function roundingError(
  x: Float32Array,
  start: number,
  columns: number,
  clipLow: number,
  clipHigh: number,
  out: Float32Array,
): void {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (let i = start; i < start + columns; i++) {
    least = Math.min(least, x[i]!);
    most = Math.max(most, x[i]!);
  }
  const low = Math.fround(Math.fround(clipLow) * least);
  const range = Math.fround(Math.fround(Math.fround(clipHigh) * most) - low);
  const step = range > 0 ? Math.fround(range / 15) : 0;
  for (let i = start; i < start + columns; i++) {
    const code = step > 0 ? Math.min(15, Math.max(0, Math.round((x[i]! - low) / step))) : 0;
    out[i] = x[i]! - (low + step * code);
  }
}
