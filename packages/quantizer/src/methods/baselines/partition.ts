// How BiLLM (arXiv 2402.04291) parts a block of columns: salient columns found by trial, the other weights split by saliency.
import type { ColumnBlock } from './blocks.ts';
import { fitRun, type Order } from './residual.ts';

/** Zones of weights: bit 0 is set above the split, bit 1 in salient columns. */
export const SALIENT = 2;

/** Salient columns a block has at most. */
const MAX_SALIENT = 49;

/** Percentiles that are tried as the split. */
const PERCENTILES = Array.from({ length: 81 }, (_, i) => 0.1 + i / 100);

export interface Partition {
  /** Zone of each weight, [rows, width]. */
  readonly zones: Uint8Array;
  readonly salientColumns: number;
}

/**
 * Partition of a block by saliency T = w^2 / U_jj^2. Columns are ranked by the sum of T; of 1 to 49 salient ones that number
 * is taken whose order-2 residual binarization, of them and of the rest apart, errs least. The other weights are split
 * at that percentile of T, 10 % to 90 % in 81 steps, at which binarizing both parts errs least.
 *
 * All these errors are those of binarizing T, not W: the paper writes of weights, its official code does this. As there,
 * percentiles are over the whole block with zeros in place of salient weights.
 *
 * @param splitSalient split the salient weights too, at a percentile of their own T with order 2: the column-group bitmap
 * of ARB-LLM (arXiv 2410.03129). No official code of that was found; the search is BiLLM's.
 */
export function partitionBlock(block: ColumnBlock, splitSalient: boolean): Partition {
  const { rows, width } = block;
  const { saliency, order } = rankColumns(block);
  const salientColumns = countSalient(saliency, rows, width);
  const rest = saliency.slice();
  for (let row = 0; row < rows; row++) rest.fill(0, row * width, row * width + salientColumns);
  const split = findSplit(saliency, rows, width, salientColumns, width, 1, rest.sort());
  let salientSplit = Number.POSITIVE_INFINITY;
  if (splitSalient) {
    const own = new Float64Array(rows * salientColumns);
    for (let row = 0; row < rows; row++)
      own.set(saliency.subarray(row * width, row * width + salientColumns), row * salientColumns);
    salientSplit = findSplit(saliency, rows, width, 0, salientColumns, 2, own.sort());
  }
  const zones = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++)
    for (let rank = 0; rank < width; rank++) {
      const value = saliency[row * width + rank]!;
      zones[row * width + order[rank]!] =
        rank < salientColumns ? SALIENT | Number(value >= salientSplit) : Number(value >= split);
    }
  return { zones, salientColumns };
}

/** T with its columns in falling order of their sums, equal ones from left to right, so that every trial is of whole runs. */
function rankColumns({ rows, width, values, u }: ColumnBlock) {
  const sums = new Float64Array(width);
  const squared = new Float64Array(rows * width);
  for (let row = 0, i = 0; row < rows; row++)
    for (let j = 0; j < width; j++, i++) sums[j]! += squared[i] = (values[i]! / u[j * width + j]!) ** 2;
  const order = Array.from(sums.keys()).sort((a, b) => sums[b]! - sums[a]! || a - b);
  const saliency = new Float64Array(rows * width);
  for (let row = 0, i = 0; row < rows; row++)
    for (const column of order) saliency[i++] = squared[row * width + column]!;
  return { saliency, order };
}

function countSalient(saliency: Float64Array, rows: number, width: number): number {
  const fit = new Float64Array(4);
  let best = 1;
  let least = Number.POSITIVE_INFINITY;
  for (let count = 1; count <= Math.min(MAX_SALIENT, width - 1); count++) {
    let error = 0;
    for (let start = 0; start < rows * width; start += width)
      error +=
        fitRun(saliency, start, start + count, 2, fit) +
        fitRun(saliency, start + count, start + width, 2, fit);
    if (error < least) {
      least = error;
      best = count;
    }
  }
  return best;
}

/**
 * The percentile of `sorted` that, as the border between two binarizations of each row's values in columns from `from`
 * to `to`, errs least.
 */
function findSplit(
  saliency: Float64Array,
  rows: number,
  width: number,
  from: number,
  to: number,
  order: Order,
  sorted: Float64Array,
): number {
  const splits = PERCENTILES.map((part) => quantile(sorted, part));
  const errors = new Float64Array(splits.length);
  const fit = new Float64Array(4);
  for (let row = 0; row < rows; row++) {
    const values = saliency.slice(row * width + from, row * width + to).sort();
    let border = 0;
    for (const [index, split] of splits.entries()) {
      while (border < values.length && values[border]! < split) border++;
      errors[index]! +=
        fitRun(values, 0, border, order, fit) + fitRun(values, border, values.length, order, fit);
    }
  }
  return splits[errors.indexOf(Math.min(...errors))]!;
}

/** Linear between neighbours, as numpy.quantile. */
function quantile(sorted: Float64Array, part: number): number {
  const place = part * (sorted.length - 1);
  const below = Math.floor(place);
  const low = sorted[below]!;
  return low + (place - below) * (sorted[Math.min(below + 1, sorted.length - 1)]! - low);
}
