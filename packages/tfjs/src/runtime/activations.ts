// 4-bit codes of activations at inference: each step one f32 operation, so that codes are those of every other backend wherever the
// device divides correctly. docs/format.md, "Activation quantizers".
import { type ActivationQuantizer, activationLadder } from '@duobit/format';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D } from '@tensorflow/tfjs-core';

/** Rows of codes: x^ = lo + step * place. */
export interface CodedRows {
  /** [rows, width]: t(q) of every code q, whole numbers; the codes themselves where there is no knee. */
  readonly places: Tensor2D;
  /** [rows, 1]; NaN for a row with values that are not finite. */
  readonly lo: Tensor2D;
  /** [rows, 1]; 0 for a row of one value. */
  readonly step: Tensor2D;
}

export function quantizeRows(tf: typeof TensorFlow, x: Tensor2D, quantizer: ActivationQuantizer): CodedRows {
  const ladder = activationLadder(quantizer);
  const lo = tf.mul(tf.min(x, 1, true), quantizer.clipLow);
  const hi = tf.mul(tf.max(x, 1, true), quantizer.clipHigh);
  // Not every backend's min and max pass NaN on: 0 times what is not finite is NaN, whatever the rest of the row.
  const range = tf.add(tf.sub(hi, lo), tf.sum(tf.mul(x, 0), 1, true));
  const whole = tf.isFinite(range);
  const step = tf.where(tf.greater(range, 0), tf.div(range, ladder.at(-1)!), 0);
  const place = tf.div(tf.sub(x, lo), step) as Tensor2D;
  // A row without a step has code 0, and so has one that is broken, whose lo and step are NaN.
  const coded = tf.logicalAnd(whole, tf.greater(step, 0));
  const nearest = quantizer.knee ? nearestPlace(tf, place, ladder) : tf.clipByValue(tf.round(place), 0, 15);
  return {
    places: tf.where(coded, nearest, 0),
    lo: tf.where(whole, lo, Number.NaN) as Tensor2D,
    step: tf.where(whole, step, Number.NaN) as Tensor2D,
  };
}

/** Counts the steps between codes whose middle is below a value, or on it where the code above is the even one. */
function nearestPlace(tf: typeof TensorFlow, place: Tensor2D, ladder: readonly number[]): Tensor2D {
  let sum = tf.zerosLike(place);
  for (let code = 1; code < ladder.length; code++) {
    const [below, above] = [ladder[code - 1]!, ladder[code]!];
    const middle = (below + above) / 2;
    const passed = code % 2 === 0 ? tf.greaterEqual(place, middle) : tf.greater(place, middle);
    sum = tf.add(sum, tf.mul(tf.cast(passed, 'float32'), above - below));
  }
  return sum;
}

/** The values that codes stand for. */
export function decodeRows(tf: typeof TensorFlow, { places, lo, step }: CodedRows): Tensor2D {
  return tf.add(lo, tf.mul(step, places)) as Tensor2D;
}
