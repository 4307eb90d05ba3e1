// Operations that training kernels have no case for: with whole numbers, so that results are exact, and rotations within their bound.
import { rotateInput } from '@duobit/format';
import { tolerance } from '@duobit/testkit';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { openEngine } from '../src/engine.ts';

describe('operations without a kernel of their own', async () => {
  const { tf, operations } = await openEngine({ device: 'cpu' });
  const list = (tensor: Tensor) => Array.from(tensor.dataSync());

  it('chooses levels by fixed codes, a short last group too, and gives each level the sum of its gradients', () => {
    const codes = tf.tensor2d([0, 1, 3, 2, 2, 0], [2, 3], 'int32');
    // Rows of two groups (columns 0 and 1; column 2) of four levels.
    const levels = tf.tensor2d(
      Array.from({ length: 16 }, (_, i) => 10 + i),
      [2, 8],
    );
    const choose = (four: Tensor) => operations.chosenLevels(codes, four as Tensor2D, 2);
    expect(list(choose(levels))).toEqual([10, 11, 17, 20, 20, 22]);
    const [gradient] = tf.grads(choose)([levels], tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]));
    expect(list(gradient!)).toEqual([1, 2, 0, 0, 0, 0, 0, 3, 0, 0, 9, 0, 6, 0, 0, 0]);
  });

  it('weighs the error of each channel', () => {
    const [output, target] = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([0, 4, 3, 1], [2, 2])];
    const weights = tf.tensor1d([2, 4]);
    const error = (out: Tensor) => operations.weightedError(out as Tensor2D, target, weights);
    // (2 * 1 + 4 * 4 + 2 * 0 + 4 * 9) / 4
    expect(list(error(output))).toEqual([13.5]);
    const [gradient] = tf.grads(error)([output]);
    expect(list(gradient!)).toEqual([1, -4, 0, 6]);
  });

  it('rotates as the format says', () => {
    const width = 24;
    const x = Float32Array.from({ length: width }, (_, i) => Math.sin(i));
    const expected = Float64Array.from(x);
    rotateInput(expected);
    const bound = tolerance.dotBound(
      width,
      x.reduce((sum, value) => sum + Math.abs(value), 0),
    );
    const rotated = list(operations.rotate(tf.tensor2d(x, [1, width])));
    rotated.forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(bound);
    });
  });
});
