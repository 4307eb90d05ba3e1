// Factor, inverse factor and solutions against plain products, within what the error analysis of Higham, "Accuracy and
// Stability of Numerical Algorithms" (2002), chapter 10, allows; and the rules of damping.
import { createHash } from 'node:crypto';
import { DuobitError } from '@duobit/format';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { cholesky, inverseCholesky, solveSymmetric } from './cholesky.ts';
import {
  drawFloats,
  drawUniform,
  gamma64,
  makeDefinite,
  multiplyTransposed,
  sameBits,
} from './testing/matrices.ts';
import { Workspace } from './workspace.ts';

let space: Workspace;
beforeAll(async () => {
  space = await Workspace.create();
});

/** sqrt(a_ii a_jj), which bounds (|L| |L^T|)_ij. */
function scaleOf(a: Float64Array, n: number, i: number, j: number): number {
  return Math.sqrt(a[i * (n + 1)]! * a[j * (n + 1)]!);
}

function expectUpper(u: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) expect(u.subarray(i * n, i * n + i).every((value) => value === 0)).toBe(true);
}

/**
 * Largest |U H U^T - I|, and its bound. The factor's backward error is gamma_(n+1) |R| |R^T|, of norm n gamma ||H||, and
 * U enters on both sides: n gamma kappa(H). The computed inverse differs from R^-1 by gamma |R^-1| |R| |R^-1|, which
 * gives n gamma kappa(R)^2 = n gamma kappa(H) again, on each side. The product checked here rounds as often as both.
 */
function inverseResidual(u: Float64Array, h: Float64Array, n: number, condition: number) {
  const product = multiplyTransposed(multiplyTransposed(u, h, n, n, n), u, n, n, n);
  let error = 0;
  product.forEach((value, i) => {
    error = Math.max(error, Math.abs(value - (i % (n + 1) === 0 ? 1 : 0)));
  });
  return { error, bound: 5 * n * gamma64(n + 1) * condition };
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof DuobitError) return `${error.code} ${error.where}`;
    throw error;
  }
  return 'none';
}

describe('cholesky', () => {
  it.each([1, 2, 3, 31, 32, 33, 64, 65, 100, 577])('n = %i: L L^T is A but for its backward error', (n) => {
    const a = makeDefinite(n, n, 1e4);
    const l = cholesky(space, a.slice(), n);
    const product = multiplyTransposed(l, l, n, n, n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        if (j > i && l[i * n + j] !== 0) expect.fail(`element ${i}, ${j} is not zero`);
        // Theorem 10.3, and as much again for the product.
        const bound = 2 * gamma64(n + 2) * scaleOf(a, n, i, j);
        if (!(Math.abs(product[i * n + j]! - a[i * n + j]!) <= bound)) expect.fail(`element ${i}, ${j}`);
      }
  });

  it('keeps A after an error, and names the column', () => {
    const a = makeDefinite(1, 50, 10);
    a[40 * 51] = -1;
    const before = a.slice();
    expect(() => cholesky(space, a, 50)).toThrow('the pivot of column 40');
    expect(codeOf(() => cholesky(space, a, 50))).toBe('LINALG_NOT_DEFINITE matrix of 50 columns');
    expect(a).toEqual(before);
  });

  it('refuses sizes that do not fit', () => {
    expect(codeOf(() => cholesky(space, new Float64Array(5), 2))).toBe('LINALG_SHAPE the matrix');
    expect(codeOf(() => cholesky(space, new Float64Array(0), 0))).toBe('LINALG_SHAPE n');
    expect(codeOf(() => cholesky(space, new Float64Array(2), 1.5))).toBe('LINALG_SHAPE n');
  });
});

describe('inverseCholesky', () => {
  it.each([1, 2, 3, 64, 129, 577])('n = %i: U H U^T is the identity', (n) => {
    const h = makeDefinite(n, n, 100);
    const result = inverseCholesky(space, h.slice(), n, { damping: 0 });
    expect(result).toMatchObject({ damping: 0, dead: new Uint32Array(0) });
    expectUpper(result.u, n);
    const { error, bound } = inverseResidual(result.u, h, n, 100);
    expect(error).toBeLessThanOrEqual(bound);
  });

  it.each([1e6, 1e10])('holds for condition %d', (condition) => {
    const n = 150;
    const h = makeDefinite(7, n, condition);
    const { u, damping } = inverseCholesky(space, h.slice(), n, { damping: 0 });
    expect(damping).toBe(0);
    const { error, bound } = inverseResidual(u, h, n, condition);
    expect(error).toBeLessThanOrEqual(bound);
  });

  it('any size, damping and dead columns: U is that of the damped matrix without them', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 80 }),
      fc.constantFrom(0, 0.01, 1),
      fc.nat(),
      fc.array(fc.nat(79), { maxLength: 4 }),
      (n, damping, seed, drawn) => {
        const dead = [...new Set(drawn.map((j) => j % n))].sort((a, b) => a - b);
        const h = makeDefinite(seed, n, 100);
        for (const j of dead) for (let i = 0; i < n; i++) h[i * n + j] = h[j * n + i] = 0;
        const live = n - dead.length;
        let trace = 0;
        for (let j = 0; j < n; j++) trace += h[j * (n + 1)]!;
        const result = inverseCholesky(space, h.slice(), n, { damping });
        expect(result).toMatchObject({ damping, dead: Uint32Array.from(dead) });
        for (const j of dead) {
          const row = result.u.slice(j * n, (j + 1) * n);
          expect([row[j], Math.max(...row.map((value, i) => (i === j ? 0 : Math.abs(value))))]).toEqual([
            1, 0,
          ]);
        }
        for (let j = 0; j < n; j++)
          h[j * (n + 1)] = dead.includes(j) ? 1 : h[j * (n + 1)]! + (damping * trace) / live;
        // Eigenvalues of the live part lie between 1/100 and 1, a dead column's is 1, and damping adds at most 1 to each.
        const { error, bound } = inverseResidual(result.u, h, n, 200);
        expect(error).toBeLessThanOrEqual(bound);
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  it('raises the damping by tens until the factor exists', () => {
    // Eigenvalues 1 + c and 1 - c: c = 1 + d needs a damping above d.
    const indefinite = (excess: number) => Float64Array.of(1, 1 + excess, 1 + excess, 1);
    expect(inverseCholesky(space, indefinite(0.05), 2, { damping: 0.01 }).damping).toBe(0.1);
    expect(inverseCholesky(space, indefinite(0.0005), 2, { damping: 0 }).damping).toBe(0.001);
    expect(inverseCholesky(space, indefinite(0.7), 2, { damping: 0.5 }).damping).toBe(1);
    const hopeless = indefinite(2);
    expect(codeOf(() => inverseCholesky(space, hopeless, 2, { damping: 0.01 }))).toMatch(
      /^LINALG_NOT_DEFINITE/,
    );
    expect(hopeless).toEqual(indefinite(2));
    expect(codeOf(() => inverseCholesky(space, Float64Array.of(-1), 1, { damping: 0 }))).toMatch(
      /^LINALG_NOT_DEFINITE/,
    );
  });

  it('factors a Hessian of fewer inputs than columns with damping', () => {
    const n = 90;
    const x = drawUniform(3, n * 20);
    const h = multiplyTransposed(x, x, n, n, 20);
    const { u, damping } = inverseCholesky(space, h.slice(), n, { damping: 0.01 });
    expect(damping).toBe(0.01);
    let trace = 0;
    for (let j = 0; j < n; j++) trace += h[j * (n + 1)]!;
    for (let j = 0; j < n; j++) h[j * (n + 1)]! += (0.01 * trace) / n;
    // The largest eigenvalue is at most the trace, the smallest at least the damping.
    const { error, bound } = inverseResidual(u, h, n, n / 0.01 + 1);
    expect(error).toBeLessThanOrEqual(bound);
  });

  it('gives the identity for zeros, all dead', () => {
    const { u, dead } = inverseCholesky(space, new Float64Array(9), 3, { damping: 0.01 });
    expect([...u]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
    expect([...dead]).toEqual([0, 1, 2]);
  });

  it('works at the ends of the range of double precision', () => {
    for (const scale of [2 ** -900, 2 ** 900]) {
      const h = makeDefinite(5, 40, 100).map((value) => value * scale);
      const { u } = inverseCholesky(space, h.slice(), 40, { damping: 0 });
      const plain = inverseCholesky(
        space,
        h.map((value) => value / scale),
        40,
        { damping: 0 },
      ).u;
      expect(u).toEqual(plain.map((value) => value / Math.sqrt(scale)));
    }
  });

  it('names the column that is not finite, and options out of range', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const h = makeDefinite(5, 10, 10);
      h[34] = value;
      expect(codeOf(() => inverseCholesky(space, h, 10, { damping: 0.01 }))).toBe(
        'LINALG_NOT_FINITE column 4',
      );
    }
    for (const damping of [-1, 2, Number.NaN])
      expect(codeOf(() => inverseCholesky(space, Float64Array.of(1), 1, { damping }))).toBe(
        'QUANTIZE_OPTION damping',
      );
  });

  it('gives these bits on every machine, in every workspace', async () => {
    const n = 200;
    const x = drawUniform(11, n * n);
    const h = multiplyTransposed(x, x, n, n, n);
    const digest = (where: Workspace) =>
      createHash('sha256')
        .update(new Uint8Array(inverseCholesky(where, h.slice(), n, { damping: 0.01 }).u.buffer))
        .digest('hex');
    const expected = '9a3540178547fb0603af0962c9bf82b6b5c7d5dd82273c5ab48c8d11b966d9f3';
    expect(digest(space)).toBe(expected);
    expect(digest(await Workspace.create())).toBe(expected);
  });
});

describe('solveSymmetric', () => {
  /** Theorem 10.4: (H + D) x = b with |D| <= gamma_(3n+1) |R^T| |R|; and n roundings of the product checked here. */
  function expectSolved(x: ArrayLike<number>, h: Float64Array, b: ArrayLike<number>, n: number, m: number) {
    const product = multiplyTransposed(x, h, m, n, n);
    for (let row = 0; row < m; row++)
      for (let j = 0; j < n; j++) {
        let size = 0;
        for (let i = 0; i < n; i++) size += scaleOf(h, n, i, j) * Math.abs(x[row * n + i]!);
        const error = Math.abs(product[row * n + j]! - b[row * n + j]!);
        if (!(error <= gamma64(4 * n + 4) * size)) expect.fail(`row ${row}, column ${j}: ${error}`);
      }
  }

  it.each([
    [1, 1],
    [2, 3],
    [3, 2],
    [65, 1],
    [150, 70],
    [577, 5],
  ])('n = %i, %i right-hand sides', (n, m) => {
    const h = makeDefinite(n, n, 1e6);
    const before = h.slice();
    const b = drawUniform(m, m * n);
    const x = b.slice();
    solveSymmetric(space, h, n, x, m);
    expect(sameBits(h, before)).toBe(true);
    expectSolved(x, h, b, n, m);
  });

  it('takes more rows than fit in a block, and f32', () => {
    const n = 5;
    const m = 110_000;
    const h = makeDefinite(2, n, 10);
    const b = drawFloats(4, m * n);
    const x = b.slice();
    const exact = Float64Array.from(b);
    solveSymmetric(space, h, n, x, m);
    solveSymmetric(space, h, n, exact, m);
    expect(sameBits(x, Float32Array.from(exact))).toBe(true);
    expectSolved(exact, h, b, n, m);
  });
});
