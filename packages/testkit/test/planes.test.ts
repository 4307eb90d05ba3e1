// A(1x4): the 4-bit codes of activations as four planes of bits give the same integers as the codes themselves, so that a
// kernel may count bits (AND, then population count) instead of adding codes. docs/numerics.md, "W(1+1) times codes".
import { quantizeActivations } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const QUANTIZER = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;

/** The bits of `values` at place `bit`, 32 columns a word. */
function packPlane(values: ArrayLike<number>, bit: number): Uint32Array {
  const words = new Uint32Array(Math.ceil(values.length / 32));
  for (let k = 0; k < values.length; k++) words[k >> 5]! |= ((values[k]! >> bit) & 1) << (k & 31);
  return words;
}

function countBits(word: number): number {
  let rest = word >>> 0;
  let count = 0;
  for (; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Sum of the codes over the columns whose bits are set in every mask. */
function sumByPlanes(planes: readonly Uint32Array[], ...masks: readonly Uint32Array[]): number {
  return planes.reduce((sum, plane, bit) => {
    let count = 0;
    plane.forEach((word, i) => {
      count += countBits(masks.reduce((bits, mask) => bits & mask[i]!, word));
    });
    return sum + 2 ** bit * count;
  }, 0);
}

describe('four planes of bits', () => {
  it('give the four sums of a group that its codes give', () => {
    const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 });
    const column = fc.tuple(finite, fc.nat(1), fc.nat(1));
    const property = fc.property(fc.array(column, { minLength: 1, maxLength: 256 }), (columns) => {
      const { codes } = quantizeActivations(
        Float32Array.from(columns, ([value]) => value),
        QUANTIZER,
      );
      const sign = columns.map(([, bit]) => bit);
      const bitmap = columns.map(([, , bit]) => bit);
      const sumWhere = (use: (k: number) => boolean): number =>
        codes.reduce((sum, code, k) => (use(k) ? sum + code : sum), 0);

      const planes = [0, 1, 2, 3].map((bit) => packPlane(codes, bit));
      const s = packPlane(sign, 0);
      const m = packPlane(bitmap, 0);
      expect(sumByPlanes(planes)).toBe(sumWhere(() => true));
      expect(sumByPlanes(planes, s)).toBe(sumWhere((k) => sign[k] === 1));
      expect(sumByPlanes(planes, m)).toBe(sumWhere((k) => bitmap[k] === 1));
      expect(sumByPlanes(planes, s, m)).toBe(sumWhere((k) => sign[k] === 1 && bitmap[k] === 1));
    });
    fc.assert(property, { numRuns: 300 });
  });
});
