// Stage 1: every group of a row gets its four best levels, each weight the nearest of the levels as they are stored.
import { DuobitError, f16ToF32, f32ToF16, packW11 } from '@duobit/format';
import { LevelFitter } from '../stages/level-fitter.ts';
import type { EncodedRows, RowBlock, TensorMethod } from './tensor-method.ts';

/** Bit 0 of a level's code is its sign bit, bit 1 its bitmap bit. Bitmap 0 is the inner pair of levels, 1 the outer. */
const LOW = 0;
const HIGH = 1;
const INNER = 0;
const OUTER = 2;

/**
 * W(1+1) by independent groups: the exact four-level fit, `alpha` and `mu` rounded to f16, then nearest-level codes.
 *
 * @param options.groupSize Columns in a group; the last group of a row may be short.
 * @param options.offsets Four free levels with `mu`, or levels symmetric about zero without.
 */
export function createW11Method(options: { groupSize: number; offsets: boolean }): TensorMethod {
  const { groupSize, offsets } = options;
  const fitter = new LevelFitter(groupSize);
  const fitted = new Float64Array(4);
  const levels = new Float64Array(4);
  const codes = new Uint8Array(4);

  return {
    encoding: { kind: 'w11', groupSize, offsets },
    encode(block: RowBlock): EncodedRows {
      const { rows, columns, values, importance } = block;
      const groups = Math.ceil(columns / groupSize);
      const alpha = new Float32Array(rows * groups * 2);
      const mu = offsets ? new Float32Array(rows * groups * 2) : null;
      const sign = new Uint8Array(rows * columns);
      const bitmap = new Uint8Array(rows * columns);
      const approximation = new Float32Array(rows * columns);

      for (let row = 0; row < rows; row++) {
        for (let group = 0; group < groups; group++) {
          const column = group * groupSize;
          const count = Math.min(groupSize, columns - column);
          const start = row * columns + column;
          if (offsets) fitter.fitFree(values, start, count, importance, column, fitted);
          else fitter.fitSymmetric(values, start, count, importance, column, fitted);

          const pairs = (row * groups + group) * 2;
          for (let m = 0; m < 2; m++) {
            const low = fitted[1 - m]!;
            const high = fitted[2 + m]!;
            const halfDistance = roundToF16(high / 2 - low / 2);
            const middle = offsets ? roundToF16(high / 2 + low / 2) : 0;
            if (!Number.isFinite(halfDistance) || !Number.isFinite(middle))
              throw outOfRange(block, row, column);
            alpha[pairs + m] = halfDistance;
            if (mu !== null) mu[pairs + m] = middle;
          }
          sortStoredLevels(alpha, mu, pairs, levels, codes);

          const split0 = (levels[0]! + levels[1]!) / 2;
          const split1 = (levels[1]! + levels[2]!) / 2;
          const split2 = (levels[2]! + levels[3]!) / 2;
          for (let i = start; i < start + count; i++) {
            const value = values[i]!;
            // A weight halfway between two levels takes the lower one.
            const nearest = value <= split1 ? (value <= split0 ? 0 : 1) : value <= split2 ? 2 : 3;
            const code = codes[nearest]!;
            sign[i] = code & 1;
            bitmap[i] = code >> 1;
            approximation[i] = levels[nearest]!;
          }
        }
      }
      return { planes: packW11({ rows, columns, groupSize, sign, bitmap, alpha, mu }), approximation };
    },
  };
}

/** The four levels mu +- alpha that the stored numbers give, ascending, with their codes; ties keep code order. */
function sortStoredLevels(
  alpha: Float32Array,
  mu: Float32Array | null,
  pairs: number,
  levels: Float64Array,
  codes: Uint8Array,
): void {
  const middle0 = mu === null ? 0 : mu[pairs]!;
  const middle1 = mu === null ? 0 : mu[pairs + 1]!;
  levels[0] = middle1 - alpha[pairs + 1]!;
  codes[0] = OUTER | LOW;
  levels[1] = middle0 - alpha[pairs]!;
  codes[1] = INNER | LOW;
  levels[2] = middle0 + alpha[pairs]!;
  codes[2] = INNER | HIGH;
  levels[3] = middle1 + alpha[pairs + 1]!;
  codes[3] = OUTER | HIGH;
  // Rounding can push an outer level past its inner neighbour, so the order is not given.
  for (let i = 1; i < 4; i++) {
    const level = levels[i]!;
    const code = codes[i]!;
    let j = i - 1;
    while (j >= 0 && levels[j]! > level) {
      levels[j + 1] = levels[j]!;
      codes[j + 1] = codes[j]!;
      j--;
    }
    levels[j + 1] = level;
    codes[j + 1] = code;
  }
}

function roundToF16(value: number): number {
  return f16ToF32(f32ToF16(value));
}

function outOfRange(block: RowBlock, row: number, column: number): DuobitError {
  return new DuobitError(
    'QUANTIZE_OUT_OF_RANGE',
    `weights of row ${block.firstRow + row} from column ${column} on are too large: their alpha or mu exceeds 65504, the largest f16`,
    { where: block.name, remedy: 'Check the checkpoint; trained weights are far smaller than this' },
  );
}
