// Dynamic 4-bit codes of activations and back, with the straight-through gradient, composed of TensorFlow.js operations.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { differentiable } from './differentiable.ts';
import type { Knee, Operations } from './operations.ts';

const LAST_CODE = 15;

/** lo and step of each row [rows, 1], and (x - lo) / step. */
function measureRows(
  tf: typeof TensorFlow,
  x: Tensor2D,
  clips: Tensor1D,
  steps: Tensor | number = LAST_CODE,
): { lo: Tensor2D; hi: Tensor2D; step: Tensor2D; place: Tensor2D } {
  const [low, high] = tf.split(clips, 2);
  const lo = tf.mul(tf.min(x, 1, true) as Tensor2D, low!) as Tensor2D;
  const hi = tf.mul(tf.max(x, 1, true) as Tensor2D, high!) as Tensor2D;
  const step = tf.div(tf.relu(tf.sub(hi, lo)), steps) as Tensor2D;
  // A row without range has code 0.
  return { lo, hi, step, place: tf.divNoNan(tf.sub(x, lo), step) };
}

/**
 * With v = (x - lo) / D and t(v) its quantized place, x^ = lo + D t. Inside the range x^ = x + D (t - v), in which t - v counts as
 * a constant: 1 to x, (t - v) / t(15) to hi and its negative to lo. Beyond an end x^ is that end.
 */
export function composeActivations(tf: typeof TensorFlow): Operations['quantizeActivations'] {
  return (x, clips, knee) => (knee ? withKnee(tf, x, clips, knee) : plain(tf, x, clips));
}

function plain(tf: typeof TensorFlow, x: Tensor2D, clips: Tensor1D): Tensor2D {
  return differentiable(tf, (x: Tensor2D, clips: Tensor1D) => {
    const { lo, hi, step, place } = measureRows(tf, x, clips);
    const codes = tf.clipByValue(tf.round(place), 0, LAST_CODE) as Tensor2D;
    return {
      value: tf.add(lo, tf.mul(step, codes)) as Tensor2D,
      saved: [x, lo, hi, place, codes],
      gradient: (g: Tensor2D, x: Tensor2D, lo: Tensor2D, hi: Tensor2D, v: Tensor2D, q: Tensor2D) =>
        rangeGradients(tf, g, { x, lo, hi, v, t: q, last: LAST_CODE }),
    };
  })(x, clips);
}

/**
 * Codes up to K step by D, codes above by r D; t(15) = K + r (15 - K). To r goes what it does to the places of codes, D following
 * from the range: x^ = lo + D (min(q, K) + r u), so dx^/dr = D (u - t (15 - K) / t(15)).
 */
function withKnee(tf: typeof TensorFlow, x: Tensor2D, clips: Tensor1D, { code, slopeRatio }: Knee): Tensor2D {
  const beyond = LAST_CODE - code;
  return differentiable(tf, (x: Tensor2D, clips: Tensor1D, ratio: Tensor1D) => {
    const last = tf.add(tf.mul(ratio, beyond), code) as Tensor1D;
    const { lo, hi, step, place } = measureRows(tf, x, clips, last);
    const upper = tf.clipByValue(
      tf.round(tf.div(tf.relu(tf.sub(place, code)), ratio)),
      0,
      beyond,
    ) as Tensor2D;
    const t = tf.add(tf.clipByValue(tf.round(place), 0, code), tf.mul(upper, ratio)) as Tensor2D;
    return {
      value: tf.add(lo, tf.mul(step, t)) as Tensor2D,
      saved: [x, lo, hi, place, t, upper, step, last],
      gradient: (
        g: Tensor2D,
        x: Tensor2D,
        lo: Tensor2D,
        hi: Tensor2D,
        v: Tensor2D,
        t: Tensor2D,
        u: Tensor2D,
        d: Tensor2D,
        last: Tensor1D,
      ) => {
        const slope = tf.mul(d, tf.sub(u, tf.div(tf.mul(t, beyond), last)));
        const dRatio = tf.reshape(tf.sum(tf.mul(g, slope)), [1]);
        return [...rangeGradients(tf, g, { x, lo, hi, v, t, last }), dRatio];
      },
    };
  })(x, clips, slopeRatio);
}

interface Range {
  readonly x: Tensor2D;
  readonly lo: Tensor2D;
  readonly hi: Tensor2D;
  /** (x - lo) / D, and where it is quantized to. */
  readonly v: Tensor2D;
  readonly t: Tensor2D;
  /** t(15) */
  readonly last: Tensor1D | number;
}

/** To x and the clips. */
function rangeGradients(tf: typeof TensorFlow, g: Tensor2D, { x, lo, hi, v, t, last }: Range): Tensor[] {
  const below = tf.less(x, lo);
  // A row without range, even one whose ends have crossed, is all lo.
  const flat = tf.lessEqual(hi, lo);
  const above = tf.logicalAnd(tf.greater(x, hi), tf.logicalNot(flat));
  const low = tf.logicalOr(below, tf.logicalAnd(tf.greater(x, hi), flat));
  const none = tf.zerosLike(g);
  const inside = tf.logicalNot(tf.logicalOr(low, above));
  const rounding = tf.where(inside, tf.div(tf.mul(g, tf.sub(t, v)), last), none);
  const dLo = tf.sum(tf.sub(tf.where(low, g, none), rounding), 1, true);
  const dHi = tf.sum(tf.add(tf.where(above, g, none), rounding), 1, true);
  const dClips = [tf.mul(dLo, tf.min(x, 1, true)), tf.mul(dHi, tf.max(x, 1, true))];
  // What is broken stays so: 0 times NaN or infinity is NaN.
  const dX = tf.add(tf.where(inside, g, none), tf.mul(tf.sub(hi, lo), 0));
  return [dX, tf.concat(dClips.map((part) => tf.reshape(tf.sum(part), [1])))];
}
