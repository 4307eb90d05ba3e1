// What each operation must give, in double precision, with the error allowed to it. Plain functions that share no code
// with any backend or decoder.
import type { ActivationQuantizer } from '@duobit/format';
import { type Expectation, exactly } from './compare.ts';
import { type CachedRow, KV_GROUP } from './kv-cache.ts';
import type { MadeTensor } from './tensors.ts';
import {
  attentionBound,
  dotBound,
  gateBound,
  gramBound,
  integerDotBound,
  normBound,
  rotationBound,
  roundingError,
  SMALLEST_GROUP,
  scoreErrorFactor,
  w11Bound,
  w11CodedBound,
} from './tolerance.ts';

/** One row of codes as docs/numerics.md defines them; every step an f32 operation. */
export interface ExpectedCodes {
  readonly codes: readonly number[];
  readonly lo: number;
  readonly step: number;
  /** lo + step * code in f32, what reading an 'a4' slot gives. */
  readonly decoded: readonly number[];
}

export function expectCodes(x: Float32Array, quantizer: ActivationQuantizer): ExpectedCodes {
  const f = Math.fround;
  const least = x.reduce((a, b) => Math.min(a, b));
  const most = x.reduce((a, b) => Math.max(a, b));
  let lo = f(f(quantizer.clipLow) * least);
  const range = f(f(f(quantizer.clipHigh) * most) - lo);
  let step = range > 0 ? f(range / 15) : 0;
  if (!Number.isFinite(range)) lo = step = Number.NaN;
  const codes = Array.from(x, (value) => {
    if (!(step > 0)) return 0;
    const t = f(f(value - lo) / step);
    // Ties to even by hand: of the two nearest integers take the even one.
    const down = Math.floor(t);
    const up = down + 1;
    const nearest = t - down < up - t ? down : t - down > up - t ? up : down % 2 === 0 ? down : up;
    return Math.max(0, Math.min(15, nearest));
  });
  return { codes, lo, step, decoded: codes.map((code) => f(lo + f(step * code))) };
}

/** x W^T for weights that are not W(1+1). */
export function expectDense(x: Float32Array, tensor: MadeTensor): Expectation[] {
  const { rows, columns, weights, groupSize } = tensor;
  const isInteger = tensor.data.info.encoding.kind.startsWith('int');
  const groups = Math.ceil(columns / groupSize);
  return Array.from({ length: rows }, (_, n) => {
    let value = 0;
    let absolute = 0;
    let slack = 0;
    let flushed = 0;
    for (let g = 0; g < groups; g++) {
      let largest = 0;
      let sum = 0;
      for (let k = g * groupSize; k < Math.min(columns, (g + 1) * groupSize); k++) {
        const weight = weights[n * columns + k]!;
        value += weight * x[k]!;
        absolute += Math.abs(weight * x[k]!);
        sum += Math.abs(weight);
        largest = Math.max(largest, Math.abs(x[k]!));
      }
      slack += largest * sum;
      if (largest < SMALLEST_GROUP) flushed += largest * sum;
    }
    const allowed = isInteger
      ? integerDotBound(columns, absolute, slack, flushed)
      : dotBound(columns, absolute);
    return { value, allowed };
  });
}

/** x W^T with W(1+1) weights on f32 activations. */
export function expectW11(x: Float32Array, tensor: MadeTensor): Expectation[] {
  const { rows, columns, weights, magnitudes, groupSize } = tensor;
  return Array.from({ length: rows }, (_, n) => {
    let value = 0;
    let absolute = 0;
    for (let k = 0; k < columns; k++) {
      value += weights[n * columns + k]! * x[k]!;
      absolute += magnitudes[n * columns + k]! * Math.abs(x[k]!);
    }
    return { value, allowed: w11Bound(columns, Math.ceil(columns / groupSize), absolute) };
  });
}

/** x^ W^T with W(1+1) weights on codes: x^ = lo + step * code, exact. */
export function expectW11Coded(row: ExpectedCodes, tensor: MadeTensor): Expectation[] {
  const { rows, columns, weights, magnitudes, groupSize } = tensor;
  const { codes, lo, step } = row;
  return Array.from({ length: rows }, (_, n) => {
    let value = 0;
    let coded = 0;
    let constant = 0;
    for (let k = 0; k < columns; k++) {
      const at = n * columns + k;
      value += weights[at]! * (lo + step * codes[k]!);
      coded += magnitudes[at]! * step * codes[k]!;
      constant += magnitudes[at]! * Math.abs(lo);
    }
    return { value, allowed: w11CodedBound(Math.ceil(columns / groupSize), coded, constant) };
  });
}

export function expectNorm(x: Float32Array, weight: Float64Array, epsilon: number): Expectation[] {
  let sum = 0;
  for (const value of x) sum += value ** 2;
  const root = Math.sqrt(sum / x.length + epsilon);
  return Array.from(x, (input, i) => {
    const value = (input / root) * weight[i]!;
    return { value, allowed: normBound(x.length, value) };
  });
}

/** A row with 0 in some columns. */
export function expectKept(x: Float32Array, columns: readonly number[]): Expectation[] {
  return exactly(x.map((value, k) => (columns.includes(k) ? 0 : value)));
}

/** The values of some columns of a row. */
export function expectTaken(x: Float32Array, columns: readonly number[]): Expectation[] {
  return exactly(columns.map((column) => x[column]!));
}

/** x R for the 'hadamard' rotation, every step an f32 operation: bit for bit. */
export function expectInputRotation(x: Float32Array): Expectation[] {
  const f = Math.fround;
  let span = 1;
  while (2 * span <= x.length) span *= 2;
  const sign = (k: number) => ((k.toString(2).match(/1(?=1)/g)?.length ?? 0) % 2 === 0 ? 1 : -1);
  // The stages of a half come before the one that joins it with the other.
  const join = (values: readonly number[]): number[] => {
    if (values.length === 1) return [...values];
    const [a, b] = [join(values.slice(0, values.length / 2)), join(values.slice(values.length / 2))];
    return [...a.map((value, i) => f(value + b[i]!)), ...a.map((value, i) => f(value - b[i]!))];
  };
  const transform = (values: readonly number[]) =>
    join(values).map((value) => f(value * f(1 / Math.sqrt(span))));
  const signed = Array.from(x, (value, k) => value * sign(k));
  const first = [...transform(signed.slice(0, span)), ...signed.slice(span)];
  if (span === x.length) return exactly(first);
  const again = first.map((value, k) => value * sign(5 * k));
  const rest = x.length - span;
  return exactly([...again.slice(0, rest), ...transform(again.slice(rest))]);
}

/** Heads of size 2 * frequencies.length, turned by position. */
export function expectRotation(x: Float32Array, position: number, frequencies: Float64Array): Expectation[] {
  const half = frequencies.length;
  return Array.from(x, (_, at) => {
    const i = at % half;
    const isFirst = at % (2 * half) < half;
    const angle = position * frequencies[i]!;
    const [own, other] = [x[at]!, isFirst ? -x[at + half]! : x[at - half]!];
    return { value: own * Math.cos(angle) + other * Math.sin(angle), allowed: rotationBound(own, other) };
  });
}

/**
 * Attention of one query row at position `keys.length - 1`.
 * @param keys what the cache holds: one row of kvHeadCount * headSize values a position, from position 0 on
 */
export function expectAttention(
  query: Float32Array,
  keys: readonly CachedRow[],
  values: readonly CachedRow[],
  heads: { readonly headCount: number; readonly kvHeadCount: number; readonly headSize: number },
  window: number | null,
): Expectation[] {
  const { headCount, kvHeadCount, headSize } = heads;
  const from = window === null ? 0 : Math.max(0, keys.length - window);
  const result: Expectation[] = [];
  for (let head = 0; head < headCount; head++) {
    const kv = Math.floor((head * kvHeadCount) / headCount) * headSize;
    const part = query.subarray(head * headSize, (head + 1) * headSize);
    const scores: number[] = [];
    let scoreError = 0;
    const roundings = Array.from(part, (_, i) => roundingError(largestNear(part, i) / Math.sqrt(headSize)));
    for (const key of keys.slice(from)) {
      let dot = 0;
      let absolute = 0;
      let rounded = 0;
      part.forEach((q, i) => {
        dot += q * key.values[kv + i]!;
        absolute += Math.abs(q) * key.magnitudes[kv + i]!;
        rounded += roundings[i]! * key.steps[kv + i]! * key.codes[kv + i]!;
      });
      scores.push(dot / Math.sqrt(headSize));
      const error = (scoreErrorFactor(headSize) * absolute) / Math.sqrt(headSize) + rounded;
      scoreError = Math.max(scoreError, error);
    }
    const highest = Math.max(...scores);
    const shares = scores.map((score) => Math.exp(score - highest));
    const total = shares.reduce((a, b) => a + b);
    for (let i = 0; i < headSize; i++) {
      let value = 0;
      let spread = 0;
      let largest = 0;
      /** By group of positions: the largest share times step, and the sum of codes. */
      const groups = new Map<number, { share: number; codes: number }>();
      shares.forEach((share, j) => {
        const { values: held, magnitudes, steps, codes } = values[from + j]!;
        value += (share / total) * held[kv + i]!;
        spread += (share / total) * magnitudes[kv + i]!;
        largest = Math.max(largest, magnitudes[kv + i]!);
        const at = Math.floor((from + j) / KV_GROUP);
        const group = groups.get(at) ?? { share: 0, codes: 0 };
        groups.set(at, group);
        group.share = Math.max(group.share, (share / total) * steps[kv + i]!);
        group.codes += codes[kv + i]!;
      });
      const range = highest - Math.min(...scores);
      let rounded = 0;
      for (const group of groups.values()) rounded += roundingError(group.share) * group.codes;
      const allowed = attentionBound(shares.length, scoreError, range, spread, largest, rounded);
      result.push({ value, allowed });
    }
  }
  return result;
}

/** The largest |value| of the group of dimensions that one of a head's belongs to. */
function largestNear(values: Float32Array, index: number): number {
  const from = Math.floor(index / KV_GROUP) * KV_GROUP;
  return values.subarray(from, from + KV_GROUP).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

export function expectGate(gate: Float32Array, up: Float32Array): Expectation[] {
  return Array.from(gate, (g, i) => {
    const value = (g / (1 + Math.exp(-g))) * up[i]!;
    return { value, allowed: gateBound(value, g, up[i]!) };
  });
}

/** One f32 addition, correctly rounded: exact. */
export function expectSum(a: Float32Array, b: Float32Array): Expectation[] {
  return Array.from(a, (value, i) => ({ value: value + b[i]!, allowed: 0 }));
}

/** The pairs of rows that went into a sum of products, and the most of them in one run. */
export interface CountedRows {
  readonly left: Float32Array[];
  readonly right: Float32Array[];
  longest: number;
}

/** sum over rows of left[t][i] * right[t][j], row-major. */
export function expectGram({ left, right, longest }: CountedRows): Expectation[] {
  const size = left[0]!.length;
  const values = new Float64Array(size * size);
  const absolute = new Float64Array(size * size);
  for (const [t, row] of left.entries())
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        const product = row[i]! * right[t]![j]!;
        values[i * size + j]! += product;
        absolute[i * size + j]! += Math.abs(product);
      }
  return Array.from(values, (value, at) => ({
    value,
    allowed: gramBound(longest, left.length, absolute[at]!),
  }));
}
