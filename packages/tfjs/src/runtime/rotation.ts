// The rotation of an input, stage by stage as the format orders it, so that its results are the same bits as everywhere: the matrix
// that training multiplies with rounds differently. docs/format.md, "Input rotations".
import { rotationSign, rotationSpan } from '@duobit/format';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';

type Tf = typeof TensorFlow;

/** Signs of the two steps, [width] each; of a power of two there is one. */
export type RotationSigns = readonly Tensor1D[];

export function rotationSigns(tf: Tf, width: number): RotationSigns {
  return (rotationSpan(width) === width ? [1] : [1, 5]).map((stride) =>
    tf.tensor1d(Float32Array.from({ length: width }, (_, k) => rotationSign(stride * k))),
  );
}

/** x R for rows [rows, width]. */
export function rotateRows(tf: Tf, x: Tensor2D, [first, second]: RotationSigns): Tensor2D {
  const [rows, width] = x.shape;
  const span = rotationSpan(width);
  const signed = tf.mul(x, first!) as Tensor2D;
  if (second === undefined) return transform(tf, signed);
  const rest = width - span;
  const part = (of: Tensor2D, from: number, count: number): Tensor2D =>
    tf.slice(of, [0, from], [rows, count]);
  const once = tf.concat([transform(tf, part(signed, 0, span)), part(signed, span, rest)], 1);
  const again = tf.mul(once, second) as Tensor2D;
  return tf.concat([part(again, 0, rest), transform(tf, part(again, rest, span))], 1);
}

/** The Walsh-Hadamard transform of rows as wide as a power of two; the scale comes last. */
function transform(tf: Tf, x: Tensor2D): Tensor2D {
  const [rows, span] = x.shape;
  let values = x;
  for (let half = 1; half < span; half *= 2) {
    const [a, b] = tf.split(tf.reshape(values, [-1, 2, half]), 2, 1);
    values = tf.reshape(tf.concat([tf.add(a!, b!), tf.sub(a!, b!)], 1), [rows, span]);
  }
  return tf.mul(values, Math.fround(1 / Math.sqrt(span)));
}
