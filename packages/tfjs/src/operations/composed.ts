// Operations composed of TensorFlow.js ones, for any of its backends. Where its own gradient would take many passes over the
// data, or has no meaning (rounding), the gradient is written out.
import type { TrainingRows } from '@duobit/core';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Scalar, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { composeActivations } from './composed-activations.ts';
import { composeChoice, composeLevels, composeRelaxed } from './composed-levels.ts';
import { Constants } from './constants.ts';
import { differentiable } from './differentiable.ts';
import type { AttentionShape, Operations } from './operations.ts';

type Tf = typeof TensorFlow;

export function composeOperations(tf: Tf): Operations {
  const constants = new Constants(tf);
  const chosenLevels = composeChoice(tf);
  return {
    add: (a, b) => tf.add(a, b),
    joinRows: (parts) => tf.concat([...parts]),
    weightedError: (output, target, weights) =>
      tf.mean(tf.mul(tf.square(tf.sub(output, target)), weights)) as Scalar,
    linear: (x, weight) => tf.matMul(x, weight, false, true) as Tensor2D,
    rmsNorm: composeNorm(tf),
    rope: (x, headCount, frequencies, rows) => rope(tf, constants, x, headCount, frequencies, rows),
    attention: (query, key, value, shape) => attend(tf, constants, query, key, value, shape),
    siluMul: composeGate(tf),
    rotate: (x) => tf.matMul(x, constants.rotation(x.shape[1])) as Tensor2D,
    quantizeActivations: composeActivations(tf),
    nearestLevels: composeLevels(tf),
    chosenLevels,
    relaxedLevels: composeRelaxed(tf, chosenLevels),
    distillationLoss: composeDistillation(tf),
  };
}

/** With r = 1 / sqrt(mean(x^2) + epsilon), y = x r w: dx = r (g w) - x r^3 / K * sum(g w x). */
function composeNorm(tf: Tf): Operations['rmsNorm'] {
  return (x, weight, epsilon) =>
    differentiable(tf, (x: Tensor2D, weight: Tensor1D) => {
      const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), epsilon)) as Tensor2D;
      return {
        value: tf.mul(tf.mul(x, scale), weight) as Tensor2D,
        saved: [x, weight, scale],
        gradient: (g: Tensor2D, x: Tensor2D, weight: Tensor1D, r: Tensor2D) => {
          const weighted = tf.mul(g, weight);
          const along = tf.mul(
            tf.sum(tf.mul(weighted, x), 1, true),
            tf.mul(tf.mul(r, tf.square(r)), 1 / x.shape[1]),
          );
          return [tf.sub(tf.mul(weighted, r), tf.mul(x, along)), tf.sum(tf.mul(tf.mul(g, x), r), 0)];
        },
      };
    })(x, weight);
}

function rope(
  tf: Tf,
  constants: Constants,
  x: Tensor2D,
  headCount: number,
  frequencies: Float64Array,
  rows: TrainingRows,
): Tensor2D {
  const { cosine, sine } = constants.angles(frequencies, rows.tokens);
  const half = frequencies.length;
  const turn = (input: Tensor2D, sign: 1 | -1): Tensor2D => {
    const pairs = tf.reshape(input, [rows.windows, rows.tokens, headCount, 2 * half]) as Tensor4D;
    const [a, b] = tf.split(pairs, 2, 3) as [Tensor4D, Tensor4D];
    const turned = sign === 1 ? sine : tf.neg(sine);
    const first = tf.sub(tf.mul(a, cosine), tf.mul(b, turned));
    const second = tf.add(tf.mul(b, cosine), tf.mul(a, turned));
    return tf.reshape(tf.concat([first, second], 3), [x.shape[0], x.shape[1]]);
  };
  return differentiable(tf, (input: Tensor2D) => ({
    value: turn(input, 1),
    saved: [],
    gradient: (g: Tensor2D) => [turn(g, -1)],
  }))(x);
}

/** Scores [windows, kvHeads, sharing * tokens, tokens]: the query heads that share a key head are rows of one product. */
function attend(
  tf: Tf,
  constants: Constants,
  query: Tensor2D,
  key: Tensor2D,
  value: Tensor2D,
  { heads, rows, span }: AttentionShape,
): Tensor2D {
  const { headCount, kvHeadCount, headSize } = heads;
  const { windows, tokens } = rows;
  const sharing = headCount / kvHeadCount;
  const mask = constants.mask(tokens, span, sharing);
  const byHead = (x: Tensor2D): Tensor4D =>
    tf.transpose(tf.reshape(x, [windows, tokens, kvHeadCount, headSize]), [0, 2, 1, 3]) as Tensor4D;
  const queries = tf.reshape(
    tf.transpose(tf.reshape(query, [windows, tokens, kvHeadCount, sharing, headSize]), [0, 2, 3, 1, 4]),
    [windows, kvHeadCount, sharing * tokens, headSize],
  );
  const scores = tf.add(tf.mul(tf.matMul(queries, byHead(key), false, true), 1 / Math.sqrt(headSize)), mask);
  const mixed = tf.matMul(tf.softmax(scores), byHead(value));
  const back = tf.transpose(
    tf.reshape(mixed, [windows, kvHeadCount, sharing, tokens, headSize]),
    [0, 3, 1, 2, 4],
  );
  return tf.reshape(back, [windows * tokens, headCount * headSize]);
}

/** y = g s(g) u; dg = dy u s (1 + g (1 - s)), du = dy g s. */
function composeGate(tf: Tf): Operations['siluMul'] {
  return differentiable(tf, (gate: Tensor2D, up: Tensor2D) => ({
    value: tf.mul(tf.mul(gate, tf.sigmoid(gate)), up) as Tensor2D,
    saved: [gate, up],
    gradient: (dy: Tensor2D, gate: Tensor2D, up: Tensor2D) => {
      const s = tf.sigmoid(gate);
      const opened = tf.mul(gate, s);
      // s (1 + g (1 - s)) = s + opened (1 - s)
      const slope = tf.add(s, tf.mul(opened, tf.sub(1, s)));
      return [tf.mul(tf.mul(dy, up), slope), tf.mul(dy, opened)];
    },
  }));
}

function composeDistillation(tf: Tf): Operations['distillationLoss'] {
  return (teacher, student) => {
    const target = tf.logSoftmax(teacher);
    return differentiable(tf, (logits: Tensor2D) => {
      const own = tf.logSoftmax(logits);
      const probabilities = tf.exp(target);
      return {
        value: tf.sum(tf.mul(probabilities, tf.sub(target, own)), 1) as Tensor1D,
        saved: [own, probabilities],
        gradient: (g: Tensor1D, own: Tensor2D, probabilities: Tensor2D) => [
          tf.mul(tf.sub(tf.exp(own), probabilities), tf.expandDims(g, 1)),
        ],
      };
    })(student);
  };
}
