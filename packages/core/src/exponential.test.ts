import { describe, expect, it } from 'vitest';
import { exponential } from './exponential.ts';
import { createRandom } from './random.ts';

describe('exponential', () => {
  it('is Math.exp but for the last places, from 0 to where nothing is left', () => {
    const random = createRandom(5);
    let most = 0;
    for (let i = 0; i < 200_000; i++) {
      const x = -random() * [1e-3, 1, 30, 708][i % 4]!;
      const wanted = Math.exp(x);
      most = Math.max(most, Math.abs(exponential(x) - wanted) / wanted / Number.EPSILON);
    }
    // Its own 4, and the 1 that engines are allowed.
    expect(most).toBeLessThan(5);
    expect([0, -0, -5e-324].map(exponential)).toEqual([1, 1, 1]);
    expect(exponential(-745.1)).toBeLessThanOrEqual(5e-324);
    expect([-745.2, -746, -1e300, Number.NEGATIVE_INFINITY].map(exponential)).toEqual([0, 0, 0, 0]);
    expect(exponential(Number.NaN)).toBeNaN();
  });

  it('has powers of two and square roots at their places', () => {
    for (let j = 0; j < 700; j++) {
      const power = 2 ** -(j / 64);
      expect(Math.abs(exponential((-j / 64) * Math.LN2) / power - 1)).toBeLessThan(1e-14);
    }
  });

  it('gives the bits that it gave when it was written, on whatever engine', () => {
    const bits = [-0.1, -1, -2.5, -17.25, -300].map(
      (x) => new BigUint64Array(Float64Array.of(exponential(x)).buffer)[0],
    );
    expect(bits).toMatchInlineSnapshot(`
      [
        4606325270462671675n,
        4600298746774613816n,
        4590579268170609700n,
        4494961081730795403n,
        2657763024227158518n,
      ]
    `);
  });
});
