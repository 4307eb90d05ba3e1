// The operations on WGSL kernels against the cases that training kernels must pass, and what those do not reach: Adam with clipping,
// choices by fixed codes, errors of channels, the knee's way round, rows beyond one dimension of a dispatch.

import { rotateInput } from '@duobit/format';
import { checkTrainingCase, TRAINING_CASES, type TrainingCase } from '@duobit/testkit';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { Adam } from '../src/adam.ts';
import type { Engine } from '../src/engine.ts';
import { WebGpuAdam } from '../src/operations/webgpu/adam.ts';
import { type OperationKernels, operationKernels } from './operation-kernels.ts';
import { openWebGpu } from './swiftshader.ts';

const found = await openWebGpu();
/** SwiftShader computes on the processor, which others may use as well. */
const TIMEOUT = 120_000;
/** Products are the library's, whole and with gradients. */
const OTHERWISE = /^matMul/;
/** What operations do not give: the sums of a softmax; a sum of squares in double precision, for which a test of clipping stands. */
const LEFT_OUT = new Set(['logSums', 'norm']);
const part = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).filter(([name]) => !LEFT_OUT.has(name)));

/** A case whose results are read when the device has them. */
async function check(engine: Engine, one: TrainingCase): Promise<void> {
  const kernels = withAdam(engine, operationKernels(engine));
  const results = one.run(kernels);
  await kernels.settle();
  await engine.sync();
  checkTrainingCase(kernels, { ...one, expected: part(one.expected), run: () => part(results) });
}

/** With Adam's step, which is no operation. */
function withAdam({ tf }: Engine, kernels: OperationKernels): OperationKernels {
  return {
    ...kernels,
    adam: (parameter, gradient, mean, square, { scale, ...options }) =>
      tf.tidy(() => {
        const size = parameter.length;
        const variable = tf.variable(tf.tensor1d(parameter));
        const moments = tf.tensor2d(Float32Array.of(...mean, ...square), [2, size]);
        new WebGpuAdam(tf).move(variable, tf.tensor1d(gradient), moments, tf.tensor1d([scale]), options);
        kernels.deliver(variable, parameter);
        kernels.deliver(tf.slice(moments, [0, 0], [1, size]), mean);
        kernels.deliver(tf.slice(moments, [1, 0], [1, size]), square);
        variable.dispose();
      }),
  };
}

if (typeof found === 'string')
  describe.skip(`operations on webgpu: ${found}`, () => it('is absent', () => {}));
else describe('operations on webgpu', { timeout: TIMEOUT }, () => register(found));

function register(engine: Engine): void {
  const { tf, operations } = engine;
  const list = async (tensor: Tensor) => Array.from(await tensor.data());

  it.each(TRAINING_CASES.filter(({ name }) => !OTHERWISE.test(name)))('$name', async (one) => {
    const before = tf.memory().numTensors;
    await check(engine, one);
    // The angles of a rope are kept; nothing else is.
    expect(tf.memory().numTensors - before).toBeLessThanOrEqual(one.name.startsWith('rope') ? 2 : 0);
  });

  it.each([null, 1, 1e4])(
    'moves by Adam with gradients clipped to %s, and keeps no tensor',
    async (clipNorm) => {
      const before = tf.memory().numTensors;
      const sizes = [5, 300_001];
      const variables = sizes.map((size) => tf.tidy(() => tf.variable(tf.ones([size]))));
      const expected = sizes.map((size) => new Float64Array(size).fill(1));
      const moments = sizes.map((size) => ({ mean: new Float64Array(size), square: new Float64Array(size) }));
      const adam = new Adam(engine, { clipNorm, beta1: 0.9, beta2: 0.99, epsilon: 1e-3 });
      for (let step = 1; step <= 3; step++) {
        const slopes = sizes.map((size) =>
          Float32Array.from({ length: size }, (_, i) => ((i * step) % 7) - 2.5),
        );
        const gradients = Object.fromEntries(
          variables.map(({ name }, i) => [name, tf.tensor1d(slopes[i]!)] as const),
        );
        adam.apply(gradients, new Map(variables.map((variable, i) => [variable, 0.01 * (i + 1)])));
        tf.dispose(gradients);
        const norm = Math.sqrt(slopes.flatMap((each) => [...each]).reduce((sum, g) => sum + g * g, 0));
        const scale = clipNorm !== null && norm > clipNorm ? clipNorm / norm : 1;
        for (const [i, { mean, square }] of moments.entries()) {
          let worst = 0;
          // Read after each step: what was read before must not be taken for what is there now.
          const values = await variables[i]!.data();
          for (let k = 0; k < mean.length; k++) {
            const g = slopes[i]![k]! * scale;
            mean[k] = 0.9 * mean[k]! + 0.1 * g;
            square[k] = 0.99 * square[k]! + 0.01 * g * g;
            const root = Math.sqrt(square[k]! / (1 - 0.99 ** step)) + 1e-3;
            expected[i]![k]! -= (0.01 * (i + 1) * mean[k]!) / (1 - 0.9 ** step) / root;
            worst = Math.max(worst, Math.abs(values[k]! - expected[i]![k]!));
          }
          // Values near 1 round by 2^-24 at each step; a step is at most 0.02 and off by a few 2^-20 of it.
          expect(worst).toBeLessThan(2 ** -21);
        }
      }
      adam.dispose();
      tf.dispose(variables);
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  it('chooses levels by fixed codes, a short last group too, and gives each level the sum of its gradients', async () => {
    const codes = tf.tensor2d([0, 1, 3, 2, 2, 0], [2, 3], 'int32');
    const levels = tf.range(10, 26).reshape([2, 8]) as Tensor2D;
    const choose = (four: Tensor) => operations.chosenLevels(codes, four as Tensor2D, 2);
    expect(await list(choose(levels))).toEqual([10, 11, 17, 20, 20, 22]);
    const [gradient] = tf.grads(choose)([levels], tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]));
    expect(await list(gradient!)).toEqual([1, 2, 0, 0, 0, 0, 0, 3, 0, 0, 9, 0, 6, 0, 0, 0]);
  });

  it('chooses levels by signs and a relaxed bitmap, and steers both', async () => {
    const latent = tf.tensor2d([-1, 2, -3, 4, 0, 6], [2, 3]);
    const bitmap = tf.tensor2d([0, 1, 0.75, 0.25, 0.5, -1], [2, 3]);
    const levels = tf.tensor2d([1, 2, 4, 8, 16, 32, 64, 128, 3, 5, 7, 11, 13, 17, 19, 23], [2, 8]);
    const choose = (a: Tensor, b: Tensor, c: Tensor) =>
      operations.relaxedLevels(a as Tensor2D, b as Tensor2D, c as Tensor2D, 2, 0);
    expect(await list(choose(latent, bitmap, levels))).toEqual([2, 8, 16, 7, 5, 19]);
    const dy = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
    const [dLatent, dBitmap, dLevels] = tf.grads(choose)([latent, bitmap, levels], dy);
    expect(await list(dLatent!)).toEqual([1, 2, 3, 4, 5, 6]);
    // Outer minus inner: -1 and 4, -16 of the second group; 4 and -2, 4 of the second row.
    expect(await list(dBitmap!)).toEqual([-1, 8, -48, 16, -10, 24]);
    expect(await list(dLevels!)).toEqual([0, 1, 0, 2, 3, 0, 0, 0, 0, 5, 4, 0, 0, 0, 6, 0]);
  });

  it('weighs the error of each channel', async () => {
    const [output, target] = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([0, 4, 3, 1], [2, 2])];
    const weights = tf.tensor1d([2, 4]);
    const error = (out: Tensor) => operations.weightedError(out as Tensor2D, target, weights);
    // (2 * 1 + 4 * 4 + 2 * 0 + 4 * 9) / 4
    expect(await list(error(output))).toEqual([13.5]);
    const [gradient] = tf.grads(error)([output]);
    expect(await list(gradient!)).toEqual([1, -4, 0, 6]);
  });

  it('has the knee as composed, and gives a latent weight its gradient as it is', async () => {
    const x = tf.tensor2d([0, 1, 2, 15], [1, 4]);
    const knee = { code: 7, slopeRatio: tf.tensor1d([1]) };
    const clips = tf.tensor1d([1, 1]);
    expect(await list(operations.quantizeActivations(x, clips, knee))).toEqual([0, 1, 2, 15]);
    const levels = tf.tensor2d([0, 1, 2, 3], [1, 4]);
    const [dLatent] = tf.grads((latent: Tensor) => operations.nearestLevels(latent as Tensor2D, levels, 4))(
      [x],
      tf.tensor2d([5, 6, 7, 8], [1, 4]),
    );
    expect(await list(dLatent!)).toEqual([5, 6, 7, 8]);
  });

  it('goes through more rows than one dimension of a dispatch has', async () => {
    const rows = 65_700;
    const values = Float32Array.from({ length: 2 * rows }, (_, i) => (i % 1000) - 500);
    const rotated = await list(operations.rotate(tf.tensor2d(values, [rows, 2])));
    for (let row = 0; row < rows; row++) rotateInput(values.subarray(2 * row, 2 * row + 2));
    expect(rotated.findIndex((value, i) => value !== values[i])).toBe(-1);
  });
}
