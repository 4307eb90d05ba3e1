// ARB-LLM_RC (Li et al. 2024, arXiv 2410.03129): BiLLM's blocks with scales of rows and of columns, refined in turns.
import type { LayerMethod, LayerResult } from '../layer-method.ts';
import {
  BLOCK,
  type ColumnBlock,
  planeBytes,
  prepareLayer,
  type QuantizedBlock,
  quantizeByBlocks,
  storeF16,
  withBlockErrors,
} from './blocks.ts';
import { partitionBlock, SALIENT } from './partition.ts';

const ITERATIONS = 15;

/** f16 row scales of a row and block: one for each group of the other weights, two for each of the salient ones. */
const ROW_SCALES = 6;

/**
 * ARB-RC with the column-group bitmap (CGB), the paper's ARB-LLM_RC: blocks of 128 columns, parted into four zones by
 * `partitionBlock`. A zone is approximated by r_i c_j b_ij, in salient columns by the sum of two such terms: scales begin
 * as means of magnitudes, then 15 times least squares for row and column scales in turn and, with two terms, the signs that
 * come nearest. A block is quantized at once, its errors go to later blocks only.
 *
 * The authors' repository holds no code. The steps are the paper's; the search for zones is BiLLM's.
 *
 * Stored form: sign and group bitmap of a bit a weight; a second sign for each weight in a salient column, rows padded
 * to 32 bits; a bit a column for which are salient; 6 f16 row scales a row and block; f16 column scales, 2 a column and 4 a
 * salient one. 2 + r + 6 * 16 / 128 + (32 + 32 r) / rows = 2.75 + r + ... bits a weight with r the part of salient columns.
 */
export function createArbRcMethod(): LayerMethod {
  return {
    name: 'arb-rc',
    quantize(problem, space): LayerResult {
      const layer = prepareLayer(problem, space);
      const { rows, columns } = layer;
      let salient = 0;
      const approximation = quantizeByBlocks(layer, space, (block) => {
        const { zones, salientColumns } = partitionBlock(block, true);
        salient += salientColumns;
        return quantizeBlock(block, zones);
      });
      const planes = 2 * planeBytes(rows, columns) + planeBytes(rows, salient) + planeBytes(1, columns);
      const rowScales = 2 * ROW_SCALES * rows * Math.ceil(columns / BLOCK);
      const bytes = planes + rowScales + 4 * columns + 4 * salient;
      return { approximation, bytes, packed: null };
    },
  };
}

function quantizeBlock(block: ColumnBlock, zones: Uint8Array): QuantizedBlock {
  const { name, rows, first, width, values } = block;
  const approximation = new Float32Array(rows * width);
  for (let zone = 0; zone < 4; zone++) {
    const members: Members = { rows, width, zones, zone };
    for (const { row: rowScale, column: columnScale, signs } of fitZone(values, members)) {
      const c = columnScale.map((scale, j) => storeF16(scale, name, 0, first + j));
      for (let row = 0, i = 0; row < rows; row++) {
        const r = storeF16(rowScale[row]!, name, row, first);
        for (let j = 0; j < width; j++, i++)
          if (zones[i] === zone) approximation[i]! += r * c[j]! * signs[i]!;
      }
    }
  }
  return withBlockErrors(block, approximation);
}

/** Which weights of a block [rows, width] belong to a zone. */
interface Members {
  readonly rows: number;
  readonly width: number;
  readonly zones: Uint8Array;
  readonly zone: number;
}

/** row_i column_j sign_ij; signs [rows, width]. */
interface Term {
  readonly row: Float64Array;
  readonly column: Float64Array;
  readonly signs: Int8Array;
}

function fitZone(values: Float32Array, members: Members): readonly Term[] {
  const one = startTerm(values, members);
  if (members.zone < SALIENT) {
    for (let turn = 0; turn < ITERATIONS; turn++) refineScales(values, one, null, members);
    return [one];
  }
  const rest = Float64Array.from(values, (value, i) => value - valueAt(one, members, i));
  const two = startTerm(rest, members);
  for (let turn = 0; turn < ITERATIONS; turn++) {
    refineScales(values, one, two, members);
    refineScales(values, two, one, members);
    chooseSigns(values, one, two, members);
  }
  return [one, two];
}

function valueAt({ row, column, signs }: Term, { width }: Members, i: number): number {
  return row[Math.floor(i / width)]! * column[i % width]! * signs[i]!;
}

/** Row scales as means of magnitudes, column scales as means of what these leave, signs of the values. */
function startTerm(values: ArrayLike<number>, { rows, width, zones, zone }: Members): Term {
  const row = new Float64Array(rows);
  const column = new Float64Array(width);
  const counts = new Uint32Array(width);
  const signs = new Int8Array(rows * width);
  for (let r = 0; r < rows; r++) {
    let count = 0;
    for (let i = r * width; i < (r + 1) * width; i++) {
      if (zones[i] !== zone) continue;
      signs[i] = values[i]! < 0 ? -1 : 1;
      row[r]! += Math.abs(values[i]!);
      count++;
    }
    // A row of zeros says nothing about columns.
    if (row[r] === 0) continue;
    row[r]! /= count;
    for (let j = 0, i = r * width; j < width; j++, i++) {
      if (zones[i] !== zone) continue;
      column[j]! += Math.abs(values[i]! / row[r]!);
      counts[j]!++;
    }
  }
  for (let j = 0; j < width; j++) if (counts[j]! > 0) column[j]! /= counts[j]!;
  return { row, column, signs };
}

/** Least squares for a term's row scales, then for its column scales, on what the other term leaves of the values. */
function refineScales(values: Float32Array, term: Term, other: Term | null, members: Members): void {
  const { rows, width, zones, zone } = members;
  const { row, column, signs } = term;
  const above = new Float64Array(width);
  const below = new Float64Array(width);
  const targets = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    let product = 0;
    let square = 0;
    const otherRow = other ? other.row[r]! : 0;
    for (let j = 0, i = r * width; j < width; j++, i++) {
      if (zones[i] !== zone) continue;
      const rest = other ? values[i]! - otherRow * other.column[j]! * other.signs[i]! : values[i]!;
      targets[j] = signs[i]! * rest;
      product += column[j]! * targets[j]!;
      square += column[j]! * column[j]!;
    }
    const scale = square === 0 ? 0 : product / square;
    row[r] = scale;
    for (let j = 0, i = r * width; j < width; j++, i++) {
      if (zones[i] !== zone) continue;
      above[j]! += scale * targets[j]!;
      below[j]! += scale * scale;
    }
  }
  for (let j = 0; j < width; j++) column[j] = below[j] === 0 ? 0 : above[j]! / below[j]!;
}

/** The signs of both terms whose sum comes nearest to each value; scales may have any sign. */
function chooseSigns(values: Float32Array, one: Term, two: Term, members: Members): void {
  const { rows, width, zones, zone } = members;
  for (let r = 0, i = 0; r < rows; r++)
    for (let j = 0; j < width; j++, i++) {
      if (zones[i] !== zone) continue;
      const a = one.row[r]! * one.column[j]!;
      const b = two.row[r]! * two.column[j]!;
      const value = values[i]!;
      let nearest = Number.POSITIVE_INFINITY;
      for (let signs = 0; signs < 4; signs++) {
        const first = signs & 2 ? 1 : -1;
        const second = signs & 1 ? 1 : -1;
        const distance = Math.abs(value - first * a - second * b);
        if (distance >= nearest) continue;
        nearest = distance;
        one.signs[i] = first;
        two.signs[i] = second;
      }
    }
}
