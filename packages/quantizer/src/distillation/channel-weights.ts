// What counts in a block's training: the error of each channel of its output against what the block adds there. A plain mean square
// would be ruled by a few channels with huge values, and hardly move.
import type { Engine, Tensor1D } from '@duobit/tfjs';
import type { Batch } from './batches.ts';

/** Channels that a block hardly changes count as if they varied by this part of the mean. */
const LEAST_VARIANCE = 1e-3;

/**
 * What the square error of each channel counts [width]: 1 / variance of output - input over all windows and tokens; or
 * its sensitivity, scaled so that an output that adds nothing still has an error of about 1.
 */
export function channelWeights(
  engine: Engine,
  inputs: readonly Batch[],
  outputs: readonly Batch[],
  sensitivity: Float32Array | null,
): Tensor1D {
  const { tf } = engine;
  return tf.tidy(() => {
    const [, width] = inputs[0]!.values.shape;
    let sum = tf.zeros([width]);
    let squares = tf.zeros([width]);
    let rows = 0;
    for (const [i, { values: input }] of inputs.entries()) {
      [sum, squares] = tf.tidy(() => {
        const added = tf.sub(outputs[i]!.values, input);
        return [tf.add(sum, tf.sum(added, 0)), tf.add(squares, tf.sum(tf.square(added), 0))];
      });
      rows += input.shape[0];
    }
    const mean = tf.div(sum, rows);
    const variance = tf.relu(tf.sub(tf.div(squares, rows), tf.square(mean)));
    if (sensitivity) {
      const weights = tf.tensor1d(sensitivity);
      return tf.div(weights, tf.add(tf.mean(tf.mul(weights, variance)), 1e-30)) as Tensor1D;
    }
    const floor = tf.add(tf.mul(tf.mean(variance), LEAST_VARIANCE), 1e-30);
    return tf.div(1, tf.add(variance, floor)) as Tensor1D;
  });
}
