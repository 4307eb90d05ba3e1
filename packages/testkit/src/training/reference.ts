// What the training kernels compute, one value after the other in double precision and with no thought of speed; gradients as
// formulas, which the tests hold against central differences of the functions here.
import type { HeadLayout, TrainingRows } from '@duobit/core';

export type Numbers = Float32Array | Float64Array;

/** op(a)[i, j] of a matrix of `rows` rows and `columns` columns, or stored transposed. */
export function matrixAt(
  a: Numbers,
  i: number,
  j: number,
  rows: number,
  columns: number,
  transposed: boolean,
): number {
  return a[transposed ? j * rows + i : i * columns + j]!;
}

export function rmsNorm(x: Numbers, weight: Numbers, epsilon: number): Float64Array {
  const width = weight.length;
  const out = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    const scale = normScale(x, row, width, epsilon);
    for (let k = 0; k < width; k++) out[row + k] = x[row + k]! * scale * weight[k]!;
  }
  return out;
}

export function normScale(x: Numbers, row: number, width: number, epsilon: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) sum += x[row + k]! ** 2;
  return 1 / Math.sqrt(sum / width + epsilon);
}

export function rope(
  x: Numbers,
  headCount: number,
  frequencies: Float64Array,
  { tokens }: TrainingRows,
  inverse: boolean,
): Float64Array {
  const half = frequencies.length;
  const out = new Float64Array(x.length);
  for (let head = 0; head < x.length / (2 * half); head++) {
    const position = Math.floor(head / headCount) % tokens;
    for (let i = 0; i < half; i++) {
      const at = head * 2 * half + i;
      const angle = (inverse ? -1 : 1) * position * frequencies[i]!;
      const [a, b] = [x[at]!, x[at + half]!];
      out[at] = a * Math.cos(angle) - b * Math.sin(angle);
      out[at + half] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return out;
}

export interface AttentionInputs {
  readonly query: Numbers;
  readonly key: Numbers;
  readonly value: Numbers;
}

/** One query of one head: where it lies, and the positions that it sees, from `begin` to its own. */
export interface Seen {
  readonly head: number;
  readonly kvHead: number;
  /** Row of the query among those of all windows, and of the positions seen. */
  readonly row: number;
  readonly begin: number;
}

export function listSeen(heads: HeadLayout, rows: TrainingRows, span: number | null): Seen[] {
  const list: Seen[] = [];
  for (let row = 0; row < rows.windows * rows.tokens; row++)
    for (let head = 0; head < heads.headCount; head++) {
      const first = row - (row % rows.tokens);
      list.push({
        head,
        kvHead: Math.floor((head * heads.kvHeadCount) / heads.headCount),
        row,
        begin: span === null ? first : Math.max(first, row - span + 1),
      });
    }
  return list;
}

/** sum over d of a[row, head, d] * b[other, otherHead, d] */
export function dotHeads(
  [a, row, head, headsA]: readonly [Numbers, number, number, number],
  [b, other, otherHead, headsB]: readonly [Numbers, number, number, number],
  size: number,
  absolute = false,
): number {
  let sum = 0;
  for (let d = 0; d < size; d++) {
    const product = a[(row * headsA + head) * size + d]! * b[(other * headsB + otherHead) * size + d]!;
    sum += absolute ? Math.abs(product) : product;
  }
  return sum;
}

/** Scores of one query at the positions it sees. */
export function scoresOf({ query, key }: AttentionInputs, heads: HeadLayout, seen: Seen): number[] {
  const { headCount, kvHeadCount, headSize } = heads;
  const scores: number[] = [];
  for (let p = seen.begin; p <= seen.row; p++)
    scores.push(
      dotHeads([query, seen.row, seen.head, headCount], [key, p, seen.kvHead, kvHeadCount], headSize) /
        Math.sqrt(headSize),
    );
  return scores;
}

export function logSum(values: ArrayLike<number>): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) most = Math.max(most, values[i]!);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp(values[i]! - most);
  return most + Math.log(sum);
}

export function attention(
  inputs: AttentionInputs,
  heads: HeadLayout,
  rows: TrainingRows,
  span: number | null,
): { readonly out: Float64Array; readonly logSums: Float64Array } {
  const { headCount, kvHeadCount, headSize } = heads;
  const out = new Float64Array(inputs.query.length);
  const logSums = new Float64Array(rows.windows * rows.tokens * headCount);
  for (const seen of listSeen(heads, rows, span)) {
    const scores = scoresOf(inputs, heads, seen);
    const total = logSum(scores);
    logSums[seen.row * headCount + seen.head] = total;
    scores.forEach((score, i) => {
      const share = Math.exp(score - total);
      for (let d = 0; d < headSize; d++)
        out[(seen.row * headCount + seen.head) * headSize + d]! +=
          share * inputs.value[((seen.begin + i) * kvHeadCount + seen.kvHead) * headSize + d]!;
    });
  }
  return { out, logSums };
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export function siluMul(gate: Numbers, up: Numbers): Float64Array {
  return Float64Array.from(gate, (g, i) => g * sigmoid(g) * up[i]!);
}

/** What docs/numerics.md, "Activations", says of one row: every step one f32 operation. */
export function quantizeRow(x: ArrayLike<number>, clips: ArrayLike<number>) {
  const { fround } = Math;
  const values = Array.from(x);
  const least = values.some(Number.isNaN) ? Number.NaN : Math.min(...values);
  const most = values.some(Number.isNaN) ? Number.NaN : Math.max(...values);
  let lo = fround(fround(clips[0]!) * least);
  const hi = fround(fround(clips[1]!) * most);
  const range = fround(hi - lo);
  let step = range > 0 ? fround(range / 15) : 0;
  if (!Number.isFinite(range)) lo = step = Number.NaN;
  const codes = values.map((value) => {
    if (!(step > 0)) return 0;
    const place = fround(fround(value - lo) / step);
    const below = Math.floor(place);
    const rest = place - below;
    const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
    return Math.min(Math.max(up ? below + 1 : below, 0), 15);
  });
  const decoded = codes.map((code) => fround(lo + fround(step * code)));
  return { least, most, lo, hi, step, codes, decoded };
}

/** Which of 4 levels is nearest: of two as near the lower, of equal ones the first. */
export function nearestLevel(x: number, levels: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < 4; i++) {
    const [now, then] = [Math.abs(x - levels[i]!), Math.abs(x - levels[best]!)];
    if (now < then || (now === then && levels[i]! < levels[best]!)) best = i;
  }
  return best;
}

/** Which of 4 levels a sign and a relaxed bitmap say. */
export function relaxedLevel(latent: number, bitmap: number): number {
  const sign = latent > 0 ? 1 : 0;
  return bitmap > 0.5 ? 3 * sign : 1 + sign;
}

export function softmax(values: ArrayLike<number>): number[] {
  const total = logSum(values);
  return Array.from(values, (value) => Math.exp(value - total));
}

/** KL(softmax(teacher) || softmax(student)) of one row. */
export function divergence(teacher: ArrayLike<number>, student: ArrayLike<number>): number {
  const [t, s] = [logSum(teacher), logSum(student)];
  let sum = 0;
  for (let i = 0; i < teacher.length; i++)
    sum += Math.exp(teacher[i]! - t) * (teacher[i]! - t - (student[i]! - s));
  return sum;
}

/** The slope of f in each of `values`, by central differences of fourth order. */
export function slopes(values: Float64Array, f: (values: Float64Array) => number): Float64Array {
  // The error of the formula grows with step^4, that of rounding with 1 / step: near 2^-53 to the fifth they meet.
  const step = 2 ** -10;
  const copy = values.slice();
  return values.map((value, i) => {
    const at = (x: number): number => {
      copy[i] = x;
      return f(copy);
    };
    const near = at(value + step) - at(value - step);
    const far = at(value + 2 * step) - at(value - 2 * step);
    copy[i] = value;
    return (8 * near - far) / (12 * step);
  });
}
