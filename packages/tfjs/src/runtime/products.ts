// Products with weights that are expanded for the purpose, a few rows at a time, so that little of a weight is ever there in f32.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { cutGroups, joinGroups } from '../operations/composed-levels.ts';
import type { CodedRows } from './activations.ts';
import type { Coefficients, DenseWeight, W11Weight } from './weights.ts';

type Tf = typeof TensorFlow;

/** Most values of one tensor of an expansion: 64 MiB. */
const MOST_VALUES = 2 ** 24;

/** x W^T, [rows of x, rows of W]. */
export function multiplyDense(tf: Tf, x: Tensor2D, weight: DenseWeight): Tensor2D {
  return byRows(tf, weight.rows, weight.columns, (first, count) =>
    tf.matMul(x, weight.rowsFrom(first, count), false, true),
  );
}

/** x W^T with W(1+1) weights on f32 activations: W(1+1)A16. */
export function multiplyW11(tf: Tf, x: Tensor2D, weight: W11Weight): Tensor2D {
  const { rows, columns } = weight;
  return byRows(tf, rows, columns, (first, count) => {
    const { s, m, sm } = bits(tf, weight, first, count);
    const [c0, c1, c2, c3] = coefficients(tf, weight, first, count).map((each) =>
      tf.expandDims(tf.transpose(each), 2),
    ) as unknown as Coefficients<Tensor3D>;
    const levels = tf.add(tf.add(tf.add(c0, tf.mul(c1, s)), tf.mul(c2, m)), tf.mul(c3, sm)) as Tensor3D;
    return tf.matMul(x, joinGroups(tf, levels, columns), false, true);
  });
}

/**
 * x^ W^T with W(1+1) weights on codes, as docs/numerics.md has it: the four sums of a group are sums of whole numbers far below
 * 2^24, so exact in f32 in whatever order a device takes them; roundings come after.
 */
export function multiplyW11Coded(tf: Tf, { places, lo, step }: CodedRows, weight: W11Weight): Tensor2D {
  const { rows, columns, groupSize, groups } = weight;
  const tokens = places.shape[0];
  // [groups, tokens, groupSize]; a short last group is filled up with zeros, which add nothing.
  const codes = tf.transpose(cutGroups(tf, places, groupSize), [1, 0, 2]) as Tensor3D;
  const all = tf.sum(codes, 2, true) as Tensor3D;
  return byRows(tf, rows, Math.max(3 * columns, 3 * groups * tokens), (first, count) => {
    const { s, m, sm } = bits(tf, weight, first, count);
    const planes = tf.transpose(tf.concat([s, m, sm], 0), [1, 0, 2]) as Tensor3D;
    const sums = tf.split(tf.matMul(codes, planes, false, true) as Tensor3D, 3, 2);
    const [c0, c1, c2, c3] = coefficients(tf, weight, first, count).map((each) =>
      tf.expandDims(each, 1),
    ) as unknown as Coefficients<Tensor3D>;
    const group = tf.add(
      tf.add(tf.add(tf.mul(c0, all), tf.mul(c1, sums[0]!)), tf.mul(c2, sums[1]!)),
      tf.mul(c3, sums[2]!),
    );
    const constant = tf.mul(lo, tf.slice(weight.sums, [first], [count]));
    return tf.add(tf.mul(step, tf.sum(group, 0)), constant) as Tensor2D;
  });
}

/** [groups, count] each, of rows from `first` on. */
function coefficients(tf: Tf, weight: W11Weight, first: number, count: number): readonly Tensor2D[] {
  return weight.coefficients.map((each) => tf.slice(each, [0, first], [weight.groups, count]));
}

/** Sign bits, bitmap bits and their products [count, groups, groupSize], as 0 and 1. */
function bits(
  tf: Tf,
  { index, groupSize }: W11Weight,
  first: number,
  count: number,
): { readonly s: Tensor3D; readonly m: Tensor3D; readonly sm: Tensor3D } {
  const codes = cutGroups(tf, index.rowsFrom(first, count), groupSize);
  const m = tf.floor(tf.mul(codes, 0.5)) as Tensor3D;
  const s = tf.sub(codes, tf.mul(m, 2)) as Tensor3D;
  return { s, m, sm: tf.mul(s, m) };
}

/** Joins what `multiply` gives for parts of a weight's rows, each with what it needs freed before the next. */
function byRows(
  tf: Tf,
  rows: number,
  valuesPerRow: number,
  multiply: (first: number, count: number) => Tensor2D,
): Tensor2D {
  const most = Math.max(1, Math.floor(MOST_VALUES / valuesPerRow));
  const parts: Tensor2D[] = [];
  for (let first = 0; first < rows; first += most)
    parts.push(tf.tidy(() => multiply(first, Math.min(most, rows - first))));
  return parts.length === 1 ? parts[0]! : tf.concat(parts, 1);
}
