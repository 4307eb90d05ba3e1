// The four levels of a group as the container stores them: two pairs, each a half distance alpha and a middle mu in f16.
import { f16ToF32, f32ToF16 } from '@duobit/format';

/** Which two of the four levels, ascending, share an alpha and a mu: the inner two and the outer two, or the lower and upper. */
export type Pairing = 'nested' | 'halves';

/** Indices of the levels [low, high] under bitmap 0 and 1. */
const PAIRS: Readonly<Record<Pairing, readonly [readonly [number, number], readonly [number, number]]>> = {
  nested: [
    [1, 2],
    [0, 3],
  ],
  halves: [
    [0, 1],
    [2, 3],
  ],
};

/** Alpha and mu [rows, groups, 2], and the levels they give with their codes (bit 0 sign, bit 1 bitmap), ascending. */
export interface StoredLevels {
  readonly alpha: Float32Array<ArrayBuffer>;
  readonly mu: Float32Array<ArrayBuffer> | null;
  /** [rows, groups, 4], ascending */
  readonly levels: Float32Array<ArrayBuffer>;
  /** [rows, groups, 4]: the code of each level */
  readonly codes: Uint8Array<ArrayBuffer>;
}

/**
 * Rounds fitted levels to what is stored.
 * @param fitted [count, 4], each four ascending
 * @param offsets false stores no mu: the levels come out symmetric about zero
 * @returns null in place of the levels and the first group that f16 cannot hold
 */
export function storeLevels(
  fitted: Float32Array | Float64Array,
  offsets: boolean,
  pairing: Pairing = 'nested',
): { stored: StoredLevels; tooLarge: number } {
  const count = fitted.length / 4;
  const alpha = new Float32Array(count * 2);
  const mu = offsets ? new Float32Array(count * 2) : null;
  const levels = new Float32Array(count * 4);
  const codes = new Uint8Array(count * 4);
  let tooLarge = -1;
  for (let group = 0; group < count; group++) {
    const four = fitted.subarray(group * 4, group * 4 + 4);
    for (let m = 0; m < 2; m++) {
      const [low, high] = PAIRS[pairing][m]!;
      const half = roundToF16(four[high]! / 2 - four[low]! / 2);
      const middle = offsets ? roundToF16(four[high]! / 2 + four[low]! / 2) : 0;
      if (!(Number.isFinite(half) && Number.isFinite(middle)) && tooLarge < 0) tooLarge = group;
      alpha[group * 2 + m] = half;
      if (mu) mu[group * 2 + m] = middle;
      levels[group * 4 + 2 * m] = middle - half;
      levels[group * 4 + 2 * m + 1] = middle + half;
      codes[group * 4 + 2 * m] = 2 * m;
      codes[group * 4 + 2 * m + 1] = 2 * m + 1;
    }
    sortFour(levels, codes, group * 4);
  }
  return { stored: { alpha, mu, levels, codes }, tooLarge };
}

/** Sorts four levels and what belongs to them by value; ties keep their order. Rounding can make neighbours cross. */
export function sortFour(levels: Float32Array, codes: Uint8Array, start: number): void {
  for (let i = start + 1; i < start + 4; i++) {
    const level = levels[i]!;
    const code = codes[i]!;
    let j = i - 1;
    while (j >= start && levels[j]! > level) {
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
