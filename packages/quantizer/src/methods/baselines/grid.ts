// The uniform asymmetric grid of RTN, GPTQ and the salient weights of PB-LLM: from the least to the largest value, zero on it.
import { BLOCK, planeBytes, storeF16 } from './blocks.ts';

/** Points scale (q - zero) for q = 0 ... largest. */
export interface Grid {
  /** An f16 value, not negative; 0 when all values are 0 or round to it. */
  readonly scale: number;
  /** Integer, 0 to largest. */
  readonly zero: number;
  readonly largest: number;
}

/**
 * Min-max grid of `count` values from `start` on: scale = (max - min) / (2^bits - 1) with 0 inside the range, rounded to f16;
 * zero = round(-min / scale).
 * @param at the weight's name, and the row and first column of the values, for messages
 * @throws DuobitError `QUANTIZE_OUT_OF_RANGE`
 */
export function fitGrid(
  values: Float32Array,
  start: number,
  count: number,
  bits: number,
  at: { readonly name: string; readonly row: number; readonly column: number },
): Grid {
  const largest = 2 ** bits - 1;
  let low = 0;
  let high = 0;
  for (let i = start; i < start + count; i++) {
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  const scale = storeF16((high - low) / largest, at.name, at.row, at.column);
  // A scale among f16's denormals can be so far from what was asked that zero would leave the grid.
  const zero = scale === 0 ? 0 : Math.min(largest, Math.round((0 - low) / scale));
  return { scale, zero, largest };
}

/** The nearest point of the grid. */
export function roundToGrid(value: number, { scale, zero, largest }: Grid): number {
  if (scale === 0) return 0;
  return scale * (Math.min(largest, Math.max(0, Math.round(value / scale) + zero)) - zero);
}

/**
 * Bytes of a matrix of such grids: `bits` planes of a bit a weight, and for each row and group of 128 columns a scale in f16
 * and a zero of `bits` bits, these packed without gaps. bits + (16 + bits) / 128 bits a weight.
 */
export function gridBytes(rows: number, columns: number, bits: number): number {
  const groups = rows * Math.ceil(columns / BLOCK);
  return bits * planeBytes(rows, columns) + 2 * groups + Math.ceil((groups * bits) / 8);
}
