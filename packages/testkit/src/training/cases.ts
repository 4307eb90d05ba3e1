// Cases of the training kernels that go value by value or row by row, and products: what to run, what must come out, how far off it
// may be. Bounds are derived as in docs/numerics.md: gamma_n of the roundings on the way times the absolute values that they act on.

import type { TrainingKernels } from '@duobit/core';
import { rotateInput, undoInputRotation } from '@duobit/format';
import { createRandom, drawIntegers, drawNormal, type Random } from '../random-values.ts';
import * as tolerance from '../tolerance.ts';
import * as reference from './reference.ts';

const { gamma, UNIT, EXP_ERROR, UNDERFLOW } = tolerance;

/** Values, and how far off each may be; null: not at all. */
export interface Expected {
  readonly values: ArrayLike<number>;
  readonly bounds: ArrayLike<number> | null;
}

/** The slope of `f` in `at` by formula, which central differences have to confirm. */
export interface SlopeCheck {
  readonly name: string;
  readonly at: Float64Array;
  readonly f: (values: Float64Array) => number;
  readonly slopes: ArrayLike<number>;
}

export interface TrainingCase {
  readonly name: string;
  readonly run: (kernels: TrainingKernels) => Record<string, reference.Numbers>;
  readonly expected: Readonly<Record<string, Expected>>;
  readonly slopes: readonly SlopeCheck[];
}

export function draw(random: Random, count: number, scale = 1): Float32Array {
  return Float32Array.from({ length: count }, () => scale * drawNormal(random));
}

/** Outputs start as garbage: they must be written in full. */
export function blank(length: number): Float32Array {
  return new Float32Array(length).fill(Number.NaN);
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

export function matMulCase(
  m: number,
  n: number,
  k: number,
  transposed: { readonly a: boolean; readonly b: boolean },
  whole: boolean,
): TrainingCase {
  const random = createRandom(m + 1000 * n + k);
  const make = (count: number) =>
    whole ? Float32Array.from(drawIntegers(random, count, -8, 8)) : draw(random, count);
  const [a, b] = [make(m * k), make(k * n)];
  const values = new Float64Array(m * n);
  const bounds = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let [sum, absolute] = [0, 0];
      for (let s = 0; s < k; s++) {
        const product =
          reference.matrixAt(a, i, s, m, k, transposed.a) * reference.matrixAt(b, s, j, k, n, transposed.b);
        sum += product;
        absolute += Math.abs(product);
      }
      values[i * n + j] = sum;
      bounds[i * n + j] = tolerance.dotBound(k, absolute);
    }
  const turned = `${transposed.a ? "a'" : 'a'} ${transposed.b ? "b'" : 'b'}`;
  return {
    name: `matMul ${turned} ${m} x ${n} x ${k}${whole ? ', whole numbers' : ''}`,
    run: (kernels) => {
      const out = blank(m * n);
      kernels.matMul(a, b, out, { m, n, k }, transposed);
      return { out };
    },
    // Sums of whole numbers below 2^24 are exact in any order.
    expected: { out: { values, bounds: whole ? null : bounds } },
    slopes: [],
  };
}

export function normCase(rows: number, width: number): TrainingCase {
  const random = createRandom(10 * rows + width);
  const epsilon = Math.fround(1e-5);
  const [x, weight, dOut] = [draw(random, rows * width, 3), draw(random, width), draw(random, rows * width)];
  const out = reference.rmsNorm(x, weight, epsilon);
  const dX = new Float64Array(x.length);
  const dWeight = new Float64Array(width);
  const bounds = { dX: new Float64Array(x.length), dWeight: new Float64Array(width) };
  for (let at = 0; at < x.length; at += width) {
    const scale = reference.normScale(x, at, width, epsilon);
    let [mean, absolute] = [0, 0];
    for (let k = 0; k < width; k++) {
      const product = (weight[k]! * dOut[at + k]! * x[at + k]!) / width;
      mean += product;
      absolute += Math.abs(product);
    }
    for (let k = 0; k < width; k++) {
      const direct = scale * weight[k]! * dOut[at + k]!;
      const shared = x[at + k]! * scale ** 3;
      dX[at + k] = direct - shared * mean;
      // The scale has gamma_(K/2 + 4), its third power three times that, the mean K products and sums.
      bounds.dX[at + k] =
        gamma(width / 2 + 8) * Math.abs(direct) + gamma(2.5 * width + 24) * Math.abs(shared) * absolute;
      const part = dOut[at + k]! * x[at + k]! * scale;
      dWeight[k]! += part;
      bounds.dWeight[k]! += gamma(width / 2 + 8 + rows) * Math.abs(part);
    }
  }
  const loss = (x_: reference.Numbers, weight_: reference.Numbers) =>
    dot(reference.rmsNorm(x_, weight_, epsilon), dOut);
  return {
    name: `rmsNorm ${rows} x ${width}`,
    run: (kernels) => {
      const results = { out: blank(x.length), dX: blank(x.length), dWeight: blank(width) };
      kernels.rmsNorm(x, weight, epsilon, results.out);
      kernels.rmsNormGradient(x, weight, epsilon, dOut, results.dX, results.dWeight);
      return results;
    },
    expected: {
      out: { values: out, bounds: out.map((value) => tolerance.normBound(width, value)) },
      dX: { values: dX, bounds: bounds.dX },
      dWeight: { values: dWeight, bounds: bounds.dWeight },
    },
    slopes: [
      { name: 'dX', at: Float64Array.from(x), f: (at) => loss(at, weight), slopes: dX },
      { name: 'dWeight', at: Float64Array.from(weight), f: (at) => loss(x, at), slopes: dWeight },
    ],
  };
}

export function ropeCase(windows: number, tokens: number, headCount: number, half: number): TrainingCase {
  const random = createRandom(windows + 10 * tokens + half);
  const rows = { windows, tokens };
  const frequencies = Float64Array.from({ length: half }, (_, i) => 10000 ** (-i / half));
  const x = draw(random, windows * tokens * headCount * 2 * half);
  const dOut = draw(random, x.length);
  const turned = reference.rope(x, headCount, frequencies, rows, false);
  const dX = reference.rope(dOut, headCount, frequencies, rows, true);
  const boundsOf = (values: Float32Array) =>
    Float64Array.from(values, (value, i) => {
      const other = values[i % (2 * half) < half ? i + half : i - half]!;
      return tolerance.rotationBound(value, other);
    });
  return {
    name: `rope ${windows} x ${tokens}, ${headCount} heads of ${2 * half}`,
    run: (kernels) => {
      const results = { out: blank(x.length), dX: blank(x.length), inPlace: x.slice() };
      kernels.rope(x, headCount, frequencies, rows, false, results.out);
      kernels.rope(dOut, headCount, frequencies, rows, true, results.dX);
      kernels.rope(results.inPlace, headCount, frequencies, rows, false, results.inPlace);
      return results;
    },
    expected: {
      out: { values: turned, bounds: boundsOf(x) },
      dX: { values: dX, bounds: boundsOf(dOut) },
      inPlace: { values: turned, bounds: boundsOf(x) },
    },
    slopes: [
      {
        name: 'dX',
        at: Float64Array.from(x),
        f: (at) => dot(reference.rope(at, headCount, frequencies, rows, false), dOut),
        slopes: dX,
      },
    ],
  };
}

export function gateCase(count: number): TrainingCase {
  const random = createRandom(count);
  const [gate, up, dOut] = [draw(random, count, 4), draw(random, count), draw(random, count)];
  // Where the exponential ends.
  gate.set([100, -100, 0].slice(0, count));
  const out = reference.siluMul(gate, up);
  const parts = Array.from(gate, (g, i) => {
    const s = reference.sigmoid(g);
    const d = dOut[i]! * up[i]!;
    // 1 - s without its cancellation.
    return [d * s, d * g * s * reference.sigmoid(-g)] as const;
  });
  const dGate = Float64Array.from(parts, ([a, b]) => a + b);
  const dUp = Float64Array.from(gate, (g, i) => dOut[i]! * g * reference.sigmoid(g));
  const slack = (i: number) => 2 ** -100 * Math.abs(gate[i]! * dOut[i]! * (1 + Math.abs(up[i]!)));
  return {
    name: `siluMul of ${count}`,
    run: (kernels) => {
      const results = { out: blank(count), dGate: blank(count), dUp: blank(count) };
      kernels.siluMul(gate, up, results.out);
      kernels.siluMulGradient(gate, up, dOut, results.dGate, results.dUp);
      return results;
    },
    expected: {
      out: { values: out, bounds: out.map((value, i) => tolerance.gateBound(value, gate[i]!, up[i]!)) },
      // At most three factors come of an exponential.
      dGate: {
        values: dGate,
        bounds: parts.map(
          ([a, b], i) => (3 * EXP_ERROR + gamma(10)) * (Math.abs(a) + Math.abs(b)) + slack(i) + UNDERFLOW,
        ),
      },
      dUp: {
        values: dUp,
        bounds: dUp.map((value, i) => (EXP_ERROR + gamma(6)) * Math.abs(value) + slack(i) + UNDERFLOW),
      },
    },
    slopes: [
      {
        name: 'dGate',
        at: Float64Array.from(gate),
        f: (at) => dot(reference.siluMul(at, up), dOut),
        slopes: dGate,
      },
      {
        name: 'dUp',
        at: Float64Array.from(up),
        f: (at) => dot(reference.siluMul(gate, at), dOut),
        slopes: dUp,
      },
    ],
  };
}

export function rotateCase(rows: number, width: number): TrainingCase {
  const random = createRandom(rows + 3 * width);
  const [x, dOut] = [draw(random, rows * width), draw(random, rows * width)];
  const out = x.slice();
  const dX = Float64Array.from(dOut);
  const bounds = new Float64Array(dX.length);
  const stages = Math.ceil(Math.log2(width)) + 2;
  for (let at = 0; at < x.length; at += width) {
    rotateInput(out.subarray(at, at + width));
    undoInputRotation(dX.subarray(at, at + width));
    // At most two transforms, each a sum of values over the root of the span: an absolute value passes both.
    const absolute = dOut.subarray(at, at + width).reduce((sum, value) => sum + Math.abs(value), 0);
    bounds.fill(2 * gamma(2 * stages) * absolute, at, at + width);
  }
  const rotated = (values: Float64Array) => {
    const copy = values.slice();
    for (let at = 0; at < copy.length; at += width) rotateInput(copy.subarray(at, at + width));
    return copy;
  };
  return {
    name: `rotate ${rows} x ${width}`,
    run: (kernels) => {
      const results = { out: blank(x.length), dX: blank(x.length), inPlace: dOut.slice() };
      kernels.rotate(x, width, false, results.out);
      kernels.rotate(dOut, width, true, results.dX);
      kernels.rotate(results.inPlace, width, true, results.inPlace);
      return results;
    },
    expected: {
      out: { values: out, bounds: null },
      dX: { values: dX, bounds },
      inPlace: { values: dX, bounds },
    },
    slopes: [
      {
        name: 'dX',
        at: Float64Array.from(x),
        f: (at) => dot(rotated(at), dOut),
        slopes: dX,
      },
    ],
  };
}

export function adamCase(count: number, step: number): TrainingCase {
  const random = createRandom(count + step);
  const options = { rate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, step, scale: 0.5 };
  const [p, g, m] = [draw(random, count), draw(random, count), draw(random, count, 0.1)];
  const v = draw(random, count, 0.1).map((value) => value * value);
  const { rate, beta1, beta2, epsilon, scale } = options;
  const norm = dot(g, g);
  const expected = {
    parameter: new Float64Array(count),
    mean: new Float64Array(count),
    square: new Float64Array(count),
  };
  const bounds = {
    parameter: new Float64Array(count),
    mean: new Float64Array(count),
    square: new Float64Array(count),
  };
  for (let i = 0; i < count; i++) {
    const gradient = g[i]! * scale;
    const mean = beta1 * m[i]! + (1 - beta1) * gradient;
    const absolute = beta1 * Math.abs(m[i]!) + (1 - beta1) * Math.abs(gradient);
    const square = beta2 * v[i]! + (1 - beta2) * gradient ** 2;
    const slope = rate / (1 - beta1 ** step) / (Math.sqrt(square / (1 - beta2 ** step)) + epsilon);
    expected.parameter[i] = p[i]! - slope * mean;
    expected.mean[i] = mean;
    expected.square[i] = square;
    // Constants, products and the sum round; in the step also correction, root, epsilon, quotient and rate.
    bounds.mean[i] = gamma(4) * absolute + UNDERFLOW;
    bounds.square[i] = gamma(6) * square + UNDERFLOW;
    bounds.parameter[i] = UNIT * Math.abs(expected.parameter[i]!) + gamma(16) * slope * absolute + UNDERFLOW;
  }
  return {
    name: `adam of ${count}, step ${step}`,
    run: (kernels) => {
      const own = { parameter: p.slice(), mean: m.slice(), square: v.slice() };
      kernels.adam(own.parameter, g, own.mean, own.square, options);
      return { ...own, norm: Float64Array.of(kernels.sumOfSquares(g)) };
    },
    expected: {
      parameter: { values: expected.parameter, bounds: bounds.parameter },
      mean: { values: expected.mean, bounds: bounds.mean },
      square: { values: expected.square, bounds: bounds.square },
      norm: { values: [norm], bounds: [count * 2 ** -53 * norm] },
    },
    slopes: [],
  };
}
