// Relaxed levels and their penalty in one pass over memory give, to the last bit, what the composed operations give.
import { createRandom, type TrainingKernels } from '@duobit/core';
import type { Scalar, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { openEngine } from '../engine.ts';
import { fuseOperations } from './fused.ts';
import { StepMemory } from './memory.ts';
import type { Operations } from './operations.ts';

describe('relaxed levels on typed arrays', async () => {
  const { tf, operations: composed } = await openEngine({ device: 'cpu' });
  // Kernels take no part in these operations.
  const fused = fuseOperations(tf, {} as TrainingKernels, composed, new StepMemory());
  const random = createRandom(5);
  const draw = (rows: number, columns: number, scale: number): Tensor2D =>
    tf.tensor2d(
      Float32Array.from({ length: rows * columns }, () => scale * (random() - 0.5)),
      [rows, columns],
    );
  const list = (tensor: Tensor) => Array.from(tensor.dataSync());
  const [rows, columns, groupSize] = [5, 37, 8];
  const latent = draw(rows, columns, 1);
  const bitmap = tf.add(draw(rows, columns, 2), 0.5) as Tensor2D;
  // Any order, as training can leave them.
  const levels = draw(rows, Math.ceil(columns / groupSize) * 4, 3);

  it('are the composed ones, gradients too', () => {
    const dy = draw(rows, columns, 2);
    const [one, other] = [fused, composed].map(({ relaxedLevels }: Operations) => {
      const choose = (a: Tensor, b: Tensor, c: Tensor) =>
        relaxedLevels(a as Tensor2D, b as Tensor2D, c as Tensor2D, groupSize);
      const gradients = tf.grads(choose)([latent, bitmap, levels], dy);
      return [choose(latent, bitmap, levels), ...gradients].map(list);
    });
    expect(one![0]!.slice(0, 8).some((value) => list(levels).slice(0, 4).includes(value))).toBe(true);
    expect(one!.slice(0, 3)).toEqual(other!.slice(0, 3));
    // Sums over at most 8 weights below 1, in another order.
    one![3]!.forEach((value, i) => {
      expect(Math.abs(value - other![3]![i]!)).toBeLessThan(8 * 8 * 2 ** -24);
    });
  });

  it('has the penalty of the composed one, with the same slope', () => {
    const [one, other] = [fused, composed].map(({ polarisation }: Operations) => ({
      value: polarisation(bitmap).dataSync()[0]!,
      slope: list(
        tf.grads((b: Tensor) => polarisation(b as Tensor2D) as Scalar)([bitmap], tf.scalar(0.7))[0]!,
      ),
    }));
    expect(one!.slope).toEqual(other!.slope);
    // A mean of parts of at most 9, summed in f32 there.
    expect(Math.abs(one!.value - other!.value)).toBeLessThan(rows * columns * 9 * 2 ** -24);
  });
});
