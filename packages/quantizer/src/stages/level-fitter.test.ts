// The fit against brute force over all partitions, and the properties every optimum has.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LevelFitter } from './level-fitter.ts';

const fitter = new LevelFitter(256);

function fit(values: readonly number[], importance?: readonly number[], symmetric = false): Float64Array {
  const levels = new Float64Array(4).fill(Number.NaN);
  const h = Float64Array.from(importance ?? values.map(() => 1));
  const method = symmetric ? 'fitSymmetric' : 'fitFree';
  fitter[method](Float32Array.from(values), 0, values.length, h, 0, levels);
  return levels;
}

/** sum h (w - nearest level)^2 */
function lossOf(values: readonly number[], importance: readonly number[], levels: ArrayLike<number>): number {
  let loss = 0;
  values.forEach((value, i) => {
    let nearest = Number.POSITIVE_INFINITY;
    for (let c = 0; c < levels.length; c++)
      nearest = Math.min(nearest, (Math.fround(value) - levels[c]!) ** 2);
    loss += importance[i]! * nearest;
  });
  return loss;
}

/** The smallest loss over every assignment of points to at most `clusters` clusters: no ordering assumed. */
function bruteForce(values: readonly number[], importance: readonly number[], clusters: number): number {
  const n = values.length;
  let best = Number.POSITIVE_INFINITY;
  const label = new Array<number>(n).fill(0);
  const visit = (i: number, used: number): void => {
    if (i === n) {
      let loss = 0;
      for (let c = 0; c < used; c++) {
        let weight = 0;
        let sum = 0;
        for (let k = 0; k < n; k++) {
          if (label[k] !== c) continue;
          weight += importance[k]!;
          sum += importance[k]! * Math.fround(values[k]!);
        }
        for (let k = 0; k < n; k++) {
          if (label[k] === c && weight > 0)
            loss += importance[k]! * (Math.fround(values[k]!) - sum / weight) ** 2;
        }
      }
      best = Math.min(best, loss);
      return;
    }
    for (let c = 0; c < Math.min(used + 1, clusters); c++) {
      label[i] = c;
      visit(i + 1, Math.max(used, c + 1));
    }
  };
  visit(0, 0);
  return best;
}

const weight = fc.oneof(fc.double({ min: -2, max: 2, noNaN: true }), fc.constantFrom(0, 1, -1, 0.5));
const point = fc.tuple(weight, fc.oneof(fc.double({ min: 0.01, max: 10, noNaN: true }), fc.constant(0)));

describe('LevelFitter.fitFree', () => {
  it('reaches the loss of the best of all partitions', () => {
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 8 }), (points) => {
        const values = points.map(([w]) => w);
        const importance = points.map(([, h]) => h);
        const found = lossOf(values, importance, fit(values, importance));
        expect(found).toBeCloseTo(bruteForce(values, importance, 4), 10);
      }),
      { numRuns: 300 },
    );
  });

  it('is a fixed point and no random set of levels beats it, at full group length', () => {
    fc.assert(
      fc.property(
        fc.array(point, { minLength: 1, maxLength: 256 }),
        fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 4, maxLength: 4 }),
        (points, rivals) => {
          const values = points.map(([w]) => w);
          const importance = points.map(([, h]) => h);
          const levels = fit(values, importance);
          expect([...levels]).toEqual([...levels].sort((a, b) => a - b));
          const loss = lossOf(values, importance, levels);
          expect(loss).toBeLessThanOrEqual(lossOf(values, importance, rivals) + 1e-9);
          // One step of Lloyd's iteration cannot improve an optimum.
          const weights = [0, 0, 0, 0];
          const sums = [0, 0, 0, 0];
          values.forEach((value, i) => {
            const w = Math.fround(value);
            const distances = [...levels].map((level) => Math.abs(w - level));
            const c = distances.indexOf(Math.min(...distances));
            weights[c]! += importance[i]!;
            sums[c]! += importance[i]! * w;
          });
          const moved = sums.map((sum, c) => (weights[c]! > 0 ? sum / weights[c]! : levels[c]!));
          expect(lossOf(values, importance, moved)).toBeGreaterThanOrEqual(loss - 1e-9);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('does not depend on the order of the points', () => {
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 40 }), fc.integer(), (points, seed) => {
        const shuffled = points
          .map((p, i) => ({ p, key: Math.imul(i + 1, 2654435761 ^ seed) >>> 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ p }) => p);
        const loss = (list: typeof points) => {
          const values = list.map(([w]) => w);
          const importance = list.map(([, h]) => h);
          return lossOf(values, importance, fit(values, importance));
        };
        expect(loss(shuffled)).toBeCloseTo(loss(points), 10);
      }),
    );
  });

  it('scales with the weights and ignores the scale of the importance', () => {
    fc.assert(
      fc.property(
        fc.array(point, { minLength: 1, maxLength: 64 }),
        fc.integer({ min: -20, max: 20 }),
        fc.integer({ min: -20, max: 20 }),
        (points, weightPower, importancePower) => {
          // Powers of two change exponents only, so the comparison can be exact; -0 becomes 0.
          const values = points.map(([w]) => Math.fround(w) + 0);
          fc.pre(values.every((w) => w === 0 || Math.abs(w) > 1e-20));
          const importance = points.map(([, h]) => h);
          const scaled = fit(
            values.map((w) => w * 2 ** weightPower),
            importance.map((h) => h * 2 ** importancePower),
          );
          expect([...scaled]).toEqual([...fit(values, importance)].map((level) => level * 2 ** weightPower));
        },
      ),
    );
  });

  it.each([
    ['one point', [0.25], [0.25, 0.25, 0.25, 0.25]],
    ['all equal', [0.5, 0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]],
    ['all zero', [0, -0, 0, 0, 0, 0], [0, 0, 0, 0]],
    ['exactly four values', [3, 1, 2, 0, 1, 2, 3, 0], [0, 1, 2, 3]],
    ['denormals', [1e-45, 3e-45, 1e-40, 0].map(Math.fround), [0, 1e-45, 3e-45, 1e-40].map(Math.fround)],
  ])('handles %s', (_, values, expected) => {
    expect([...fit(values)].map((level) => level + 0)).toEqual(expected);
  });

  it('reproduces two and three distinct values without error', () => {
    expect(lossOf([1, 2, 1, 2, 2], [1, 1, 1, 1, 1], fit([1, 2, 1, 2, 2]))).toBe(0);
    expect(lossOf([1, 2, 5, 2, 2], [1, 1, 1, 1, 1], fit([1, 2, 5, 2, 2]))).toBe(0);
  });

  it('ignores points without importance, and treats all alike when none has any', () => {
    expect([...fit([1, 2, 3, 4, 100], [1, 1, 1, 1, 0])]).toEqual([1, 2, 3, 4]);
    expect([...fit([1, 2, 3, 4], [0, 0, 0, 0])]).toEqual([1, 2, 3, 4]);
  });

  it('keeps nothing from one call to the next', () => {
    const values = Array.from({ length: 128 }, (_, i) => Math.sin(i * 1.7));
    const first = [...fit(values)];
    fit(Array.from({ length: 256 }, (_, i) => Math.cos(i) * 1e4));
    expect([...fit(values)]).toEqual(first);
  });
});

describe('LevelFitter.fitSymmetric', () => {
  it('reaches the best two magnitudes', () => {
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 10 }), (points) => {
        const values = points.map(([w]) => w);
        const importance = points.map(([, h]) => h);
        const levels = fit(values, importance, true);
        expect(levels[0]).toBe(-levels[3]!);
        expect(levels[1]).toBe(-levels[2]!);
        expect(levels[2]).toBeGreaterThanOrEqual(0);
        const magnitudes = values.map(Math.abs);
        expect(lossOf(values, importance, levels)).toBeCloseTo(bruteForce(magnitudes, importance, 2), 10);
      }),
      { numRuns: 200 },
    );
  });
});
