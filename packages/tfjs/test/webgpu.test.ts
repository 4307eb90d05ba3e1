// The operations on WGSL kernels against the cases that training kernels must pass, and what those do not reach: Adam with clipping,
// choices by fixed codes, errors of channels, the knee's way round, rows beyond one dimension of a dispatch.
import { checkTrainingCase, TRAINING_CASES, type TrainingCase } from '@duobit/testkit';
import type { Scalar, Tensor, Tensor2D, Variable } from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { Adam } from '../src/adam.ts';
import type { Engine } from '../src/engine.ts';
import { WebGpuAdam } from '../src/operations/webgpu/adam.ts';
import { operationKernels } from './operation-kernels.ts';
import { openWebGpu } from './swiftshader.ts';

const found = await openWebGpu();
/** SwiftShader computes on the processor, which others may use as well. */
const TIMEOUT = 120_000;
/** Products are the library's, which has its own tests; Adam is no operation and has a test below. */
const OTHERWISE = /^(adam|matMul)/;

/** Kernels give their gradients the sums of a softmax, which operations do not have. */
const LEFT_OUT = new Set(['logSums']);
const part = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).filter(([name]) => !LEFT_OUT.has(name)));

/** A case whose results are read when the device has them. */
async function check(engine: Engine, one: TrainingCase): Promise<void> {
  const kernels = operationKernels(engine);
  const results = one.run(kernels);
  await kernels.settle();
  await engine.sync();
  checkTrainingCase(kernels, { ...one, expected: part(one.expected), run: () => part(results) });
}

if (typeof found === 'string') describe.skip(`operations on webgpu: ${found}`, () => it('is absent', () => {}));
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
}
