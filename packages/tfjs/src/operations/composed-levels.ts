// Weights of four levels a group, composed of TensorFlow.js operations.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { differentiable } from './differentiable.ts';
import type { Operations } from './operations.ts';

/** [N, K] cut in groups [N, groups, groupSize], a short last one filled up with zeros. */
export function cutGroups(tf: typeof TensorFlow, matrix: Tensor2D, groupSize: number): Tensor3D {
  const [rows, columns] = matrix.shape;
  const groups = Math.ceil(columns / groupSize);
  const missing = groups * groupSize - columns;
  const behind: [number, number] = [0, missing];
  const padded = missing === 0 ? matrix : tf.pad(matrix, [[0, 0], behind]);
  return tf.reshape(padded, [rows, groups, groupSize]);
}

/** The inverse of `cutGroups`. */
export function joinGroups(tf: typeof TensorFlow, grouped: Tensor3D, columns: number): Tensor2D {
  const [rows, groups, groupSize] = grouped.shape;
  const joined = tf.reshape(grouped, [rows, groups * groupSize]) as Tensor2D;
  return groups * groupSize === columns ? joined : tf.slice(joined, [0, 0], [rows, columns]);
}

export function composeLevels(tf: typeof TensorFlow): Operations['nearestLevels'] {
  return (latent, levels, groupSize) => {
    const [rows, columns] = latent.shape;
    const groups = Math.ceil(columns / groupSize);
    return differentiable(tf, (latent: Tensor2D, levels: Tensor2D) => {
      const grouped = cutGroups(tf, latent, groupSize);
      const four = tf.split(tf.reshape(levels, [rows, groups, 4]), 4, 2);
      const spread = four.map((level) => tf.add(level, tf.zerosLike(grouped)) as Tensor3D);
      let value = spread[0]!;
      let index = tf.zerosLike(grouped);
      let distance = tf.abs(tf.sub(grouped, value)) as Tensor3D;
      for (const [i, level] of spread.entries()) {
        if (i === 0) continue;
        const other = tf.abs(tf.sub(grouped, level)) as Tensor3D;
        // On a tie the lower level, whatever the order of the four.
        const tie = tf.logicalAnd(tf.equal(other, distance), tf.less(level, value));
        const nearer = tf.logicalOr(tf.less(other, distance), tie);
        value = tf.where(nearer, level, value);
        index = tf.where(nearer, tf.fill(index.shape, i), index);
        distance = tf.minimum(distance, other);
      }
      return {
        value: joinGroups(tf, value, columns),
        saved: [index],
        gradient: (g: Tensor2D, index: Tensor3D) => {
          const parts = cutGroups(tf, g, groupSize);
          const sums = four.map((_, i) =>
            tf.sum(tf.mul(parts, tf.cast(tf.equal(index, i), 'float32')), 2, true),
          );
          return [g, tf.reshape(tf.concat(sums, 2), [rows, groups * 4])];
        },
      };
    })(latent, levels);
  };
}

export function composeChoice(tf: typeof TensorFlow): Operations['chosenLevels'] {
  return (codes, levels, groupSize) => {
    const [rows, columns] = codes.shape;
    const groups = Math.ceil(columns / groupSize);
    const grouped = cutGroups(tf, codes, groupSize);
    const four = tf.split(tf.reshape(levels, [rows, groups, 4]), 4, 2);
    const parts = four.map((level, i) => tf.mul(tf.cast(tf.equal(grouped, i), 'float32'), level) as Tensor3D);
    return joinGroups(
      tf,
      parts.reduce((sum, part) => tf.add(sum, part)),
      columns,
    );
  };
}

/** @param choose the engine's way of choosing by codes */
export function composeRelaxed(
  tf: typeof TensorFlow,
  choose: Operations['chosenLevels'],
): Operations['relaxedLevels'] {
  return (latent, bitmap, levels, groupSize, polarisation) => {
    // As an operation without inputs: nothing leads back from a threshold, which has no gradient.
    const cut = (tensor: Tensor2D, at: number): Tensor2D =>
      differentiable(tf, () => ({
        value: tf.cast(tf.greater(tensor, at), 'int32') as Tensor2D,
        saved: [],
        gradient: () => [],
      }))();
    const sign = cut(latent, 0);
    const inner = tf.add(sign, tf.scalar(1, 'int32')) as Tensor2D;
    const outer = tf.mul(sign, tf.scalar(3, 'int32')) as Tensor2D;
    const codes = tf.where(tf.cast(cut(bitmap, 0.5), 'bool'), outer, inner) as Tensor2D;
    const slope = tf.sub(choose(outer, levels, groupSize), choose(inner, levels, groupSize)) as Tensor2D;
    // What it saves, no input of it, gets no gradient.
    const steer = differentiable(tf, (value: Tensor2D, _latent: Tensor2D, bitmap: Tensor2D) => ({
      value: tf.clone(value),
      saved: [slope, bitmap],
      gradient: (g: Tensor2D, slope: Tensor2D, bitmap: Tensor2D) => {
        const u = tf.sub(tf.mul(bitmap, 2), 1);
        const pushed = tf.mul(tf.mul(u, tf.sub(1, tf.square(u))), pushOf(polarisation, bitmap));
        return [g, g, tf.add(tf.mul(g, slope), pushed)];
      },
    }));
    return steer(choose(codes, levels, groupSize), latent, bitmap);
  };
}

/** The slope of `polarisation` times the mean of (1 - u^2)^2, u = 2 b - 1, in a value b of the bitmap is this times u (1 - u^2). */
export function pushOf(polarisation: number, bitmap: Tensor2D): number {
  return (-8 * polarisation) / bitmap.size;
}
