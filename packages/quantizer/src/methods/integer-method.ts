// Grouped symmetric integers for embedding and head: w^ = scale * code, round to nearest.
import { DuobitError, f16ToF32, f32ToF16, packInt4, packInt8 } from '@duobit/format';
import type { EncodedRows, RowBlock, TensorMethod } from './tensor-method.ts';

const FORMATS = {
  int8: { lowest: -127, highest: 127, divisors: [127] },
  // At four bits it pays to try scales that clip the largest weights or use the extra negative code.
  int4: { lowest: -8, highest: 7, divisors: [7, 7.25, 7.5, 7.75, 8, 8.25, 8.5, 8.75, 9] },
} as const;

/**
 * Integers with one f16 scale a row and group. The scale is max|w| / d for the divisor d in a short fixed list
 * that leaves the least squared error; the first of equals wins.
 */
export function createIntegerMethod(options: { kind: 'int8' | 'int4'; groupSize: number }): TensorMethod {
  const { kind, groupSize } = options;
  const { lowest, highest, divisors } = FORMATS[kind];
  const pack = kind === 'int8' ? packInt8 : packInt4;

  return {
    encoding: { kind, groupSize },
    encode(block: RowBlock): EncodedRows {
      const { rows, columns, values } = block;
      const groups = Math.ceil(columns / groupSize);
      const scale = new Float32Array(rows * groups);
      const codes = new Int8Array(rows * columns);
      const approximation = new Float32Array(rows * columns);

      for (let row = 0; row < rows; row++) {
        for (let group = 0; group < groups; group++) {
          const start = row * columns + group * groupSize;
          const end = row * columns + Math.min(columns, (group + 1) * groupSize);
          let largest = 0;
          for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));

          let best = 0;
          let bestLoss = Number.POSITIVE_INFINITY;
          for (const divisor of divisors) {
            const candidate = f16ToF32(f32ToF16(largest / divisor));
            if (!Number.isFinite(candidate)) continue;
            const loss = divisors.length === 1 ? 0 : lossOf(values, start, end, candidate, lowest, highest);
            if (loss < bestLoss) {
              bestLoss = loss;
              best = candidate;
            }
          }
          if (bestLoss === Number.POSITIVE_INFINITY) throw outOfRange(block, row, largest, kind);
          scale[row * groups + group] = best;
          for (let i = start; i < end; i++) {
            const code = quantizeValue(values[i]!, best, lowest, highest);
            codes[i] = code;
            approximation[i] = best * code;
          }
        }
      }
      return { planes: pack({ rows, columns, groupSize, codes, scale }), approximation };
    },
  };
}

/** Nearest code; halves go up. A scale that underflowed to zero leaves only code 0. */
function quantizeValue(value: number, scale: number, lowest: number, highest: number): number {
  if (scale === 0) return 0;
  return Math.min(Math.max(Math.floor(value / scale + 0.5), lowest), highest);
}

function lossOf(
  values: Float32Array,
  start: number,
  end: number,
  scale: number,
  lowest: number,
  highest: number,
): number {
  let loss = 0;
  for (let i = start; i < end; i++) {
    const difference = values[i]! - scale * quantizeValue(values[i]!, scale, lowest, highest);
    loss += difference * difference;
  }
  return loss;
}

function outOfRange(block: RowBlock, row: number, largest: number, kind: string): DuobitError {
  return new DuobitError(
    'QUANTIZE_OUT_OF_RANGE',
    `row ${block.firstRow + row} holds a value of magnitude ${largest}, whose ${kind} scale exceeds 65504, the largest f16`,
    { where: block.name, remedy: 'Check the checkpoint; trained weights are far smaller than this' },
  );
}
