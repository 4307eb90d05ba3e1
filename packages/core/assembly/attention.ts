// Causal grouped-query attention over an f32 cache of fixed capacity.
//
// Cache layout: keys and values each [sequence][kv head][capacity][size], size = head size rounded up to 4, padding zero. So decode
// reads each head's keys and values front to back. Queries that share a kv head (the heads of its group, over all rows of a part) are
// taken four at a time: scores lie as [position][4 queries], which makes the softmax lane-parallel without tails, and each
// key and value loaded serves four queries.
import { exponential } from './exponential';
import { sumFour } from './reduce';
import { mulAdd } from './simd';

/** Copies a row of keys (or values) into the cache of a sequence. Sizes in bytes except counts. */
export function cacheRow(
  input: usize, cache: usize, sequence: u32, position: u32, kvHeads: u32, headBytes: u32, size: u32, capacity: u32,
): void {
  for (let head: u32 = 0; head < kvHeads; ++head) {
    const to = cache + <usize>((sequence * kvHeads + head) * capacity + position) * (size << 2);
    memory.copy(to, input + head * headBytes, headBytes);
  }
}

/** scores[p - first][lane] = scale * q[lane] . key[p] for first <= p < end. `q`: 4 queries of `size` floats. */
function scoreBlock(q: usize, keys: usize, size: u32, scores: usize, first: u32, end: u32, scale: f32): void {
  const bytes = size << 2, scale4 = f32x4.splat(scale), q1 = q + bytes, q2 = q1 + bytes, q3 = q2 + bytes;
  let to = scores, p = first;
  for (; p + 2 <= end; p += 2) {
    const key = keys + <usize>p * bytes, next = key + bytes, z = f32x4.splat(0);
    let a = z, b = z, c = z, d = z, e = z, f = z, g = z, h = z;
    for (let k: u32 = 0; k < bytes; k += 16) {
      const x = v128.load(key + k), y = v128.load(next + k);
      let v = v128.load(q + k);
      a = mulAdd(a, v, x); e = mulAdd(e, v, y);
      v = v128.load(q1 + k);
      b = mulAdd(b, v, x); f = mulAdd(f, v, y);
      v = v128.load(q2 + k);
      c = mulAdd(c, v, x); g = mulAdd(g, v, y);
      v = v128.load(q3 + k);
      d = mulAdd(d, v, x); h = mulAdd(h, v, y);
    }
    v128.store(to, f32x4.mul(sumFour(a, b, c, d), scale4));
    v128.store(to, f32x4.mul(sumFour(e, f, g, h), scale4), 16);
    to += 32;
  }
  if (p < end) {
    const key = keys + <usize>p * bytes, z = f32x4.splat(0);
    let a = z, b = z, c = z, d = z;
    for (let k: u32 = 0; k < bytes; k += 16) {
      const x = v128.load(key + k);
      a = mulAdd(a, v128.load(q + k), x);
      b = mulAdd(b, v128.load(q1 + k), x);
      c = mulAdd(c, v128.load(q2 + k), x);
      d = mulAdd(d, v128.load(q3 + k), x);
    }
    v128.store(to, f32x4.mul(sumFour(a, b, c, d), scale4));
  }
}

/** Turns scores into weights e^(score - max), zero outside each lane's [from, to); returns 1 / sum a lane. */
function softmaxBlock(scores: usize, first: u32, end: u32, from: v128, to: v128): v128 {
  const lowest = f32x4.splat(-Infinity), one = i32x4.splat(1);
  let top = lowest, p4 = i32x4.splat(first);
  const stop = scores + ((end - first) << 4);
  for (let at = scores; at < stop; at += 16) {
    const seen = v128.and(i32x4.ge_s(p4, from), i32x4.lt_s(p4, to));
    top = f32x4.max(top, v128.bitselect(v128.load(at), lowest, seen));
    p4 = i32x4.add(p4, one);
  }
  let sum = f32x4.splat(0);
  p4 = i32x4.splat(first);
  for (let at = scores; at < stop; at += 16) {
    const seen = v128.and(i32x4.ge_s(p4, from), i32x4.lt_s(p4, to));
    const e = v128.and(exponential(f32x4.sub(v128.load(at), top)), seen);
    v128.store(at, e);
    sum = f32x4.add(sum, e);
    p4 = i32x4.add(p4, one);
  }
  return f32x4.div(f32x4.splat(1), sum);
}

/** Positions mixed at a time: 64 rows of 64 values are 16 KiB, half of a first-level cache. */
const MIX_ROWS: u32 = 64;

/** mixed[lane][d] += sum over `rows` positions of weight[lane] * value[p][d]; 8 floats of d at a time, then 4. */
function mixRows(weights: usize, values: usize, bytes: u32, mixed: usize, rows: u32): void {
  const stop = weights + (rows << 4), m1 = mixed + bytes, m2 = m1 + bytes, m3 = m2 + bytes;
  let k: u32 = 0;
  for (; k + 32 <= bytes; k += 32) {
    let a = v128.load(mixed + k), b = v128.load(m1 + k), c = v128.load(m2 + k), d = v128.load(m3 + k);
    let e = v128.load(mixed + k, 16), f = v128.load(m1 + k, 16), g = v128.load(m2 + k, 16), h = v128.load(m3 + k, 16);
    let value = values + k;
    for (let at = weights; at < stop; at += 16) {
      const x = v128.load(value), y = v128.load(value, 16);
      let w = v128.load_splat<f32>(at);
      a = mulAdd(a, w, x); e = mulAdd(e, w, y);
      w = v128.load_splat<f32>(at, 4);
      b = mulAdd(b, w, x); f = mulAdd(f, w, y);
      w = v128.load_splat<f32>(at, 8);
      c = mulAdd(c, w, x); g = mulAdd(g, w, y);
      w = v128.load_splat<f32>(at, 12);
      d = mulAdd(d, w, x); h = mulAdd(h, w, y);
      value += bytes;
    }
    v128.store(mixed + k, a); v128.store(mixed + k, e, 16);
    v128.store(m1 + k, b); v128.store(m1 + k, f, 16);
    v128.store(m2 + k, c); v128.store(m2 + k, g, 16);
    v128.store(m3 + k, d); v128.store(m3 + k, h, 16);
  }
  if (k < bytes) {
    let a = v128.load(mixed + k), b = v128.load(m1 + k), c = v128.load(m2 + k), d = v128.load(m3 + k);
    let value = values + k;
    for (let at = weights; at < stop; at += 16) {
      const x = v128.load(value);
      a = mulAdd(a, v128.load_splat<f32>(at), x);
      b = mulAdd(b, v128.load_splat<f32>(at, 4), x);
      c = mulAdd(c, v128.load_splat<f32>(at, 8), x);
      d = mulAdd(d, v128.load_splat<f32>(at, 12), x);
      value += bytes;
    }
    v128.store(mixed + k, a);
    v128.store(m1 + k, b);
    v128.store(m2 + k, c);
    v128.store(m3 + k, d);
  }
}

/** mixed[lane][d] = inverse[lane] * sum over positions of weight[lane] * value[p][d]. */
function mixBlock(weights: usize, values: usize, size: u32, mixed: usize, first: u32, end: u32, inverse: v128): void {
  const bytes = size << 2;
  memory.fill(mixed, 0, bytes << 2);
  for (let p = first; p < end; p += MIX_ROWS) {
    mixRows(weights + ((p - first) << 4), values + <usize>p * bytes, bytes, mixed, min<u32>(MIX_ROWS, end - p));
  }
  const i0 = f32x4.splat(f32x4.extract_lane(inverse, 0)), i1 = f32x4.splat(f32x4.extract_lane(inverse, 1));
  const i2 = f32x4.splat(f32x4.extract_lane(inverse, 2)), i3 = f32x4.splat(f32x4.extract_lane(inverse, 3));
  for (let k: u32 = 0; k < bytes; k += 16) {
    const m = mixed + k;
    v128.store(m, f32x4.mul(v128.load(m), i0));
    v128.store(m + bytes, f32x4.mul(v128.load(m + bytes), i1));
    v128.store(m + 2 * bytes, f32x4.mul(v128.load(m + 2 * bytes), i2));
    v128.store(m + 3 * bytes, f32x4.mul(v128.load(m + 3 * bytes), i3));
  }
}

/** Units that the queries of so many rows are for a kv head. */
@inline export function attentionUnits(rows: u32, group: u32): u32 {
  return (rows * group + 3) >> 2;
}

/**
 * Attention of new rows of one sequence, whose keys and values are already in its cache from `position` on: of a kv head, whose planes
 * `keys` and `values` are, block `unit` of 4 of the queries that share it. `query` and `out` are those of the first row and the head.
 * `window` = 0 means all positions. `scratch` takes 8 * size + 4 * (position + rows) floats.
 */
export function attention(
  query: usize, queryStride: u32, keys: usize, values: usize, out: usize, outStride: u32, scratch: usize,
  rows: u32, position: u32, group: u32, headSize: u32, size: u32, window: u32, scale: f32, unit: u32,
): void {
  const bytes = size << 2, headBytes = headSize << 2;
  const q = scratch, mixed = q + (bytes << 2), scores = mixed + (bytes << 2), queries = rows * group, block = unit << 2;
  memory.fill(q, 0, bytes << 2);
  let from = i32x4.splat(0), to = i32x4.splat(0);
  for (let lane: u32 = 0; lane < 4; ++lane) {
    // A short last block repeats its last query.
    const index = min<u32>(block + lane, queries - 1), row = index / group;
    memory.copy(q + lane * bytes, query + row * queryStride + index % group * headBytes, headBytes);
    const end = position + row + 1, begin = window != 0 && end > window ? end - window : 0;
    if (lane == 0) { from = i32x4.replace_lane(from, 0, begin); to = i32x4.replace_lane(to, 0, end); }
    else if (lane == 1) { from = i32x4.replace_lane(from, 1, begin); to = i32x4.replace_lane(to, 1, end); }
    else if (lane == 2) { from = i32x4.replace_lane(from, 2, begin); to = i32x4.replace_lane(to, 2, end); }
    else { from = i32x4.replace_lane(from, 3, begin); to = i32x4.replace_lane(to, 3, end); }
  }
  const first = <u32>i32x4.extract_lane(from, 0), end = <u32>i32x4.extract_lane(to, 3);
  scoreBlock(q, keys, size, scores, first, end, scale);
  const inverse = softmaxBlock(scores, first, end, from, to);
  mixBlock(scores, values, size, mixed, first, end, inverse);
  for (let lane: u32 = 0; lane < 4 && block + lane < queries; ++lane) {
    const index = block + lane, row = index / group;
    memory.copy(out + row * outStride + index % group * headBytes, mixed + lane * bytes, headBytes);
  }
}
