// Causal attention of grouped queries: products by the library, masked softmax and its gradient by a kernel each.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor4D, Tensor5D } from '@tensorflow/tfjs-core';
import { differentiable } from '../differentiable.ts';
import type { Operations } from '../operations.ts';
import { type Programs, threadsFor } from './programs.ts';

/** Scores [windows, kvHeads, sharing * tokens, tokens]: the query heads that share a key head are rows of one product. */
export function attention(tf: typeof TensorFlow, programs: Programs): Operations['attention'] {
  return (query, key, value, { heads, rows: { windows, tokens }, span }) => {
    const { headCount, kvHeadCount, headSize } = heads;
    const sharing = headCount / kvHeadCount;
    const scoreRows = windows * headCount * tokens;
    const launch = {
      threads: threadsFor(tokens),
      workgroups: scoreRows,
      whole: { rows: scoreRows, tokens, span: Math.min(span ?? tokens, tokens) },
      real: { scale: 1 / Math.sqrt(headSize) },
    };
    const rowsOfHeads = (x: Tensor2D): Tensor4D => {
      const apart = tf.reshape(x, [windows, tokens, kvHeadCount, sharing, headSize]) as Tensor5D;
      const joined: [number, number, number, number] = [windows, kvHeadCount, sharing * tokens, headSize];
      return tf.reshape(tf.transpose(apart, [0, 2, 3, 1, 4]), joined);
    };
    const joinHeads = (x: Tensor4D): Tensor2D => {
      const apart = tf.reshape(x, [windows, kvHeadCount, sharing, tokens, headSize]) as Tensor5D;
      return tf.reshape(tf.transpose(apart, [0, 3, 1, 2, 4]), [windows * tokens, headCount * headSize]);
    };
    const ofKeys = (x: Tensor2D): Tensor4D =>
      tf.transpose(tf.reshape(x, [windows, tokens, kvHeadCount, headSize]), [0, 2, 1, 3]);
    const joinKeys = (x: Tensor4D): Tensor2D =>
      tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [windows * tokens, kvHeadCount * headSize]);

    return differentiable(tf, (query: Tensor2D, key: Tensor2D, value: Tensor2D) => {
      const [q, k, v] = [rowsOfHeads(query), ofKeys(key), ofKeys(value)];
      const scores = tf.matMul(q, k, false, true);
      const shares: Tensor4D = programs.run('attention-shares', scores.shape, {
        ...launch,
        inputs: { scores },
      });
      return {
        value: joinHeads(tf.matMul(shares, v) as Tensor4D),
        saved: [q, k, v, shares],
        gradient: (g: Tensor2D, q: Tensor4D, k: Tensor4D, v: Tensor4D, shares: Tensor4D) => {
          const mixed = rowsOfHeads(g);
          const gradient = tf.matMul(mixed, v, false, true);
          const scores: Tensor4D = programs.run('attention-scores', shares.shape, {
            ...launch,
            inputs: { shares, gradient },
          });
          return [
            joinHeads(tf.matMul(scores, k) as Tensor4D),
            joinKeys(tf.matMul(scores, q, true, false) as Tensor4D),
            joinKeys(tf.matMul(shares, mixed, true, false) as Tensor4D),
          ];
        },
      };
    })(query, key, value);
  };
}
