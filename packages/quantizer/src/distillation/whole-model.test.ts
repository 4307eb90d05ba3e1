// Sensitivities against what they stand for: how fast the prediction moves away when a channel is moved.
import { createRandom } from '@duobit/core';
import { openEngine, type Tensor2D } from '@duobit/tfjs';
import { expect, it } from 'vitest';
import { makeMemoryCheckpoint, SMALL_ARCHITECTURE } from '../testing/memory-checkpoint.ts';
import type { Batch } from './batches.ts';
import { HeadModel } from './head-model.ts';
import { WholeModel } from './whole-model.ts';

it('measures the curvature of the KL divergence along each channel', async () => {
  const engine = await openEngine({ device: 'cpu' });
  const { tf, operations } = engine;
  const { hiddenSize } = SMALL_ARCHITECTURE;
  const checkpoint = makeMemoryCheckpoint();
  const random = createRandom(1);
  // Windows of one token each: no row depends on another, so that all can be moved at once.
  const windows = 4096;
  const values = Float32Array.from({ length: windows * hiddenSize }, () => random() - 0.5);
  const batch: Batch = { values: tf.tensor2d(values, [windows, hiddenSize]), windows };
  const before = tf.memory().numTensors;
  const model = await WholeModel.open(engine, checkpoint);
  const [, last] = await model.sensitivities([batch], 0);
  const head = await HeadModel.open(engine, checkpoint);
  const stream = tf.tidy(() => {
    let now = batch;
    for (const block of model.blocks)
      now = { windows, values: block.forward(now, { weights: model.teacher, quantizers: null }) };
    return now.values;
  });
  const size = 0.05;
  for (const channel of [0, 7, 23]) {
    const moved = Float32Array.from({ length: hiddenSize }, (_, i) => (i === channel ? size : 0));
    const divergence = tf.tidy(() => {
      const towards = (sign: 1 | -1) => {
        const there = tf.add(stream, tf.mul(tf.tensor1d(moved), sign)) as Tensor2D;
        const [teacher, student] = [stream, there].map((values) => head.logits({ values, windows }));
        return tf.mean(operations.distillationLoss(teacher!, student!)).dataSync()[0]!;
      };
      // The mean of both sides has no term of third order.
      return (towards(1) + towards(-1)) / 2;
    });
    // KL = F d^2 / 2. The square of a sum of many random terms deviates by sqrt(2) of its mean: 2.2 % over the rows, and 4 of those.
    const expected = (2 * divergence) / size ** 2;
    expect(Math.abs(last![channel]! / expected - 1)).toBeLessThan(4 * Math.sqrt(2 / windows) + 0.01);
  }
  stream.dispose();
  head.dispose();
  model.dispose();
  // Constants are kept; nothing else is.
  expect(tf.memory().numTensors - before).toBeLessThanOrEqual(3);
});
