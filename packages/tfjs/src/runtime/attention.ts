// What works by position at inference: rotary embedding, and attention over a cache of keys and values in f32.
import type { HeadLayout } from '@duobit/core';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

type Tf = typeof TensorFlow;

/** Keys or values of one layer [kvHeadCount, positions, headSize]; null before the first run. */
export type CachedRows = Tensor3D | null;

/** Cosine and sine of every row's angles [rows, 1, pairs], the angle taken in double precision. */
export function makeAngles(
  tf: Tf,
  frequencies: Float64Array,
  position: number,
  rows: number,
): { readonly cosine: Tensor3D; readonly sine: Tensor3D } {
  const pairs = frequencies.length;
  const of = (f: (angle: number) => number): Tensor3D => {
    const values = new Float32Array(rows * pairs);
    for (let t = 0; t < rows; t++)
      for (let i = 0; i < pairs; i++) values[t * pairs + i] = f((position + t) * frequencies[i]!);
    return tf.tensor3d(values, [rows, 1, pairs]);
  };
  return { cosine: of(Math.cos), sine: of(Math.sin) };
}

/** Turns the pairs (x[i], x[i + headSize / 2]) of every head. */
export function turnRows(
  tf: Tf,
  x: Tensor2D,
  headCount: number,
  { cosine, sine }: { readonly cosine: Tensor3D; readonly sine: Tensor3D },
): Tensor2D {
  const [rows, width] = x.shape;
  const [a, b] = tf.split(tf.reshape(x, [rows, headCount, width / headCount]) as Tensor3D, 2, 2);
  const first = tf.sub(tf.mul(a!, cosine), tf.mul(b!, sine));
  const second = tf.add(tf.mul(b!, cosine), tf.mul(a!, sine));
  return tf.reshape(tf.concat([first, second], 2), [rows, width]);
}

/**
 * The cache with rows [rows, kvHeadCount * headSize] at `position`. Positions never written are 0, those behind the rows stay.
 * A new tensor: TensorFlow.js changes none.
 */
export function writeCache(
  tf: Tf,
  held: CachedRows,
  rows: Tensor2D,
  position: number,
  { kvHeadCount, headSize }: HeadLayout,
): Tensor3D {
  const count = rows.shape[0];
  const fresh = tf.transpose(tf.reshape(rows, [count, kvHeadCount, headSize]), [1, 0, 2]) as Tensor3D;
  const length = held?.shape[1] ?? 0;
  const parts: Tensor3D[] = [];
  const keep = (from: number, positions: number): void => {
    if (positions > 0) parts.push(tf.slice(held!, [0, from, 0], [kvHeadCount, positions, headSize]));
  };
  keep(0, Math.min(length, position));
  if (position > length) parts.push(tf.zeros([kvHeadCount, position - length, headSize]));
  parts.push(fresh);
  keep(position + count, length - position - count);
  return parts.length === 1 ? fresh : tf.concat(parts, 1);
}

/**
 * Softmax attention of queries [rows, headCount * headSize] at positions from `position` on. The query heads that share a key head
 * are rows of one product.
 * @param window a position sees at most this many latest positions, itself included; null sees all
 */
export function attendRows(
  tf: Tf,
  query: Tensor2D,
  keys: Tensor3D,
  values: Tensor3D,
  { headCount, kvHeadCount, headSize }: HeadLayout,
  position: number,
  window: number | null,
): Tensor2D {
  const rows = query.shape[0];
  const sharing = headCount / kvHeadCount;
  const from = window === null ? 0 : Math.max(0, position - window + 1);
  const seen = position + rows - from;
  const visible = (cache: Tensor3D): Tensor3D => tf.slice(cache, [0, from, 0], [kvHeadCount, seen, headSize]);
  const queries = tf.reshape(
    tf.transpose(
      tf.reshape(tf.mul(query, 1 / Math.sqrt(headSize)), [rows, kvHeadCount, sharing, headSize]),
      [1, 2, 0, 3],
    ),
    [kvHeadCount, sharing * rows, headSize],
  ) as Tensor3D;
  const scores = tf.matMul(queries, visible(keys), false, true) as Tensor3D;
  const hidden = rows === 1 ? null : hiddenPlaces(tf, rows, from, position, window);
  // Far below every score, and still finite less the largest score.
  const masked = hidden
    ? tf.reshape(tf.where(hidden, -1e38, tf.reshape(scores, [kvHeadCount * sharing, rows, seen])), [
        kvHeadCount,
        sharing * rows,
        seen,
      ])
    : scores;
  const shares = tf.exp(tf.sub(masked, tf.max(masked, 2, true))) as Tensor3D;
  const mixed = tf.div(tf.matMul(shares, visible(values)), tf.sum(shares, 2, true));
  const back = tf.transpose(tf.reshape(mixed, [kvHeadCount, sharing, rows, headSize]), [2, 0, 1, 3]);
  return tf.reshape(back, [rows, headCount * headSize]);
}

/** [1, rows, seen]: true where a row may not look. */
function hiddenPlaces(tf: Tf, rows: number, from: number, position: number, window: number | null): Tensor3D {
  const seen = position + rows - from;
  const hidden = new Uint8Array(rows * seen).fill(1);
  for (let t = 0; t < rows; t++) {
    const at = position + t;
    const least = window === null ? 0 : Math.max(0, at - window + 1);
    hidden.fill(0, t * seen + least - from, t * seen + at - from + 1);
  }
  return tf.tensor3d(hidden, [1, rows, seen], 'bool');
}
