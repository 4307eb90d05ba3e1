// The gradient of a quantizer with a knee against central differences of its definition in double precision.
import { createRandom, drawActivations, drawNormal, tolerance, trainingReference } from '@duobit/testkit';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { openEngine } from '../src/engine.ts';

const ROWS = 4;
const WIDTH = 33;
const { slopes } = trainingReference;

/** The clips and the ratio as they move; everything that rounding decides stays as `decide` found it. */
interface Decided {
  readonly least: number;
  readonly most: number;
  /** Below the range, above it, or inside with the place that it was rounded to: min(q, K) and the steps above the knee. */
  readonly values: readonly (
    | 'low'
    | 'high'
    | { readonly lower: number; readonly upper: number; readonly v: number }
  )[];
}

function decide(row: Float64Array, clips: ArrayLike<number>, code: number, ratio: number): Decided {
  const [least, most] = [Math.min(...row), Math.max(...row)];
  const [lo, hi] = [clips[0]! * least, clips[1]! * most];
  const step = (hi - lo) / (code + ratio * (15 - code));
  const values = Array.from(row, (x) => {
    const v = (x - lo) / step;
    if (x < lo) return 'low';
    if (x > hi) return 'high';
    const upper = Math.min(Math.round(Math.max(0, v - code) / ratio), 15 - code);
    return { lower: Math.min(Math.round(v), code), upper, v };
  });
  return { least, most, values };
}

describe.each([
  [4, 1],
  [7, 1.7],
  [11, 3],
  [14, 6.5],
])('a knee at code %i of slope %f', async (code, ratio) => {
  const engine = await openEngine({ device: 'cpu' });
  const { tf, operations } = engine;
  const random = createRandom(code);
  const x = drawActivations(random, ROWS * WIDTH);
  const clips = Float32Array.of(0.8, 0.7);
  const soft = Math.fround(ratio);
  const towards = Float32Array.from(x, () => drawNormal(random));
  const rows = Array.from({ length: ROWS }, (_, i) =>
    decide(Float64Array.from(x.subarray(i * WIDTH, (i + 1) * WIDTH)), clips, code, soft),
  );
  const lastOf = (r: number): number => code + r * (15 - code);

  /**
   * x^ = x + D (t - v), in which t - v is a constant, for what x and clips do; x^ = lo + D (min(q, K) + r u), in which the codes
   * are, for what the ratio does.
   */
  const sumOf = (values: Float64Array, ends: Float64Array, r: number): number =>
    rows.reduce((sum, { least, most, values: decided }, row) => {
      const [lo, hi] = [ends[0]! * least, ends[1]! * most];
      const [lo0, hi0] = [clips[0]! * least, clips[1]! * most];
      decided.forEach((one, k) => {
        const i = row * WIDTH + k;
        let y: number;
        if (one === 'low') y = lo;
        else if (one === 'high') y = hi;
        else {
          const place = (at: number) => one.lower + at * one.upper;
          const spread = (at: number) => ((hi0 - lo0) / lastOf(at)) * place(at);
          y = values[i]! + ((hi - lo) / lastOf(soft)) * (place(soft) - one.v) + spread(r) - spread(soft);
        }
        sum += y * towards[i]!;
      });
      return sum;
    }, 0);

  it('has the gradients of its definition', () => {
    const run = (x: Tensor, clips: Tensor, slopeRatio: Tensor) => {
      const knee = { code, slopeRatio: slopeRatio as Tensor1D };
      const out = operations.quantizeActivations(x as Tensor2D, clips as Tensor1D, knee);
      return tf.sum(tf.mul(out, tf.tensor2d(towards, [ROWS, WIDTH])));
    };
    const inputs = [tf.tensor2d(x, [ROWS, WIDTH]), tf.tensor1d(clips), tf.tensor1d([soft])];
    const { value, grads } = tf.valueAndGrads(run)(inputs);
    const [dX, dClips, dRatio] = grads.map((gradient) => gradient.dataSync()) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [x64, clips64] = [Float64Array.from(x), Float64Array.from(clips)];
    // Roundings of one value: a product for the end, range, step, place, rounding back, product, sum; then the sum of all.
    const gamma = tolerance.gamma(12 + ROWS * WIDTH);
    const most = Math.max(...x64.map(Math.abs));
    const sum = towards.reduce((total, value) => total + Math.abs(value), 0);
    expect(Math.abs(value.dataSync()[0]! - sumOf(x64, clips64, soft))).toBeLessThan(gamma * 2 * most * sum);
    slopes(x64, (values) => sumOf(values, clips64, soft)).forEach((slope, i) => {
      expect(Math.abs(dX[i]! - slope)).toBeLessThan(1e-9 * most * sum + 2 ** -24);
    });
    slopes(clips64, (ends) => sumOf(x64, ends, soft)).forEach((slope, i) => {
      // t - v loses to cancellation what a place of up to t(15) was rounded by.
      expect(Math.abs(dClips[i]! - slope)).toBeLessThan(2 * gamma * most * sum);
    });
    const [slope] = slopes(Float64Array.of(soft), ([r]) => sumOf(x64, clips64, r!));
    expect(Math.abs(dRatio[0]! - slope!)).toBeLessThan(gamma * 2 * most * sum * 2);
    expect(Math.abs(slope!)).toBeGreaterThan(0);
    // Some lie beyond either end, some below and some above the knee: no branch is left out.
    const decided = rows.flatMap(({ values }) => values);
    expect(new Set(decided.map((one) => (typeof one === 'string' ? one : one.upper > 0))).size).toBe(4);
    tf.dispose([value, ...grads, ...inputs]);
  });
});
