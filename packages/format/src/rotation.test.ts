import { describe, expect, it } from 'vitest';
import { rotateInput, rotationSign, rotationSpan, undoInputRotation } from './rotation.ts';

const LENGTHS = [1, 2, 3, 5, 64, 96, 576, 1000, 1024, 1536];
const norm = (row: Float64Array): number => Math.hypot(...row);

describe('the rotation of an input', () => {
  it('has the signs of the Rudin-Shapiro sequence (OEIS A020985)', () => {
    expect(Array.from({ length: 16 }, (_, k) => rotationSign(k))).toEqual([
      1, 1, 1, -1, 1, 1, -1, 1, 1, 1, 1, -1, -1, -1, 1, -1,
    ]);
  });

  it('spans the largest power of two', () => {
    expect([1, 2, 3, 576, 1024, 1536].map(rotationSpan)).toEqual([1, 2, 2, 512, 1024, 1024]);
  });

  it('gives the values that its definition gives by hand', () => {
    // Signs + + +; (1, 2) -> (3, -1) / sqrt 2; signs of places 0, 5, 10: + + +; (-1 / sqrt 2, 4) -> sum, difference / sqrt 2.
    const row = Float64Array.of(1, 2, 4);
    rotateInput(row);
    const r = Math.SQRT1_2;
    for (const [k, value] of [3 * r, (4 - r) * r, (-r - 4) * r].entries())
      expect(row[k]).toBeCloseTo(value, 6);
    // A power of two has one transform: signs + + + -, then all four.
    const four = Float32Array.of(1, 2, 3, 4);
    rotateInput(four);
    // (1, 2, 3, -4): sums 3 -1 -1 7, then 2 6 4 -8, halved.
    expect([...four]).toEqual([1, 3, 2, -4]);
  });

  it.each(LENGTHS)('keeps lengths and is undone, at %i values', (length) => {
    const given = Float64Array.from({ length }, (_, k) => Math.sin(k * 1.7) + (k === 0 ? 40 : 0));
    const row = given.slice();
    rotateInput(row);
    // The scale is rounded to f32 once a transform.
    expect(Math.abs(norm(row) / norm(given) - 1)).toBeLessThan(4 * 2 ** -24);
    undoInputRotation(row);
    for (let k = 0; k < length; k++)
      expect(Math.abs(row[k]! - given[k]!)).toBeLessThan(norm(given) * 8 * 2 ** -24);
  });

  it.each([576, 1024, 1536])('spreads one outlier, and a constant, over all of %i values', (length) => {
    for (const outlier of [0, 63, length / 2, length - 1]) {
      const row = new Float64Array(length);
      row[outlier] = 1;
      rotateInput(row);
      expect(Math.max(...row.map(Math.abs)) * Math.sqrt(length)).toBeLessThan(4);
    }
    const row = new Float64Array(length).fill(1);
    rotateInput(row);
    expect(Math.max(...row.map(Math.abs))).toBeLessThan(5);
  });
});
