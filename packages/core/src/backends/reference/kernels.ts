// The operations themselves, one row at a time, in double precision. Inputs and outputs are f32 arrays, so every result
// is rounded exactly once, on being stored; docs/numerics.md lists these places.
import type { ActivationQuantizer } from '@duobit/format';
import type { DenseWeight, W11Weight } from './weights.ts';

/** out = x / sqrt(mean(x^2) + epsilon) * weight (Zhang & Sennrich 2019). */
export function normalizeRow(
  x: Float32Array,
  weight: Float32Array,
  epsilon: number,
  out: Float32Array,
): void {
  let sum = 0;
  for (const value of x) sum += value * value;
  const scale = 1 / Math.sqrt(sum / x.length + epsilon);
  for (let i = 0; i < x.length; i++) out[i] = x[i]! * scale * weight[i]!;
}

/** One row of 4-bit codes: x^[k] = lo + step * codes[k]. */
export interface CodedRow {
  readonly codes: Uint8Array;
  readonly lo: number;
  readonly step: number;
}

/**
 * Dynamic asymmetric 4-bit codes of one row. Each step is one correctly rounded f32 operation, so that every backend
 * gets the same codes, bit for bit: docs/numerics.md, "Activations".
 * @param codes filled with integers 0 … 15
 */
export function quantizeRow(x: Float32Array, quantizer: ActivationQuantizer, codes: Uint8Array): CodedRow {
  const { fround } = Math;
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of x) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  const lo = fround(fround(quantizer.clipLow) * least);
  const hi = fround(fround(quantizer.clipHigh) * most);
  const range = fround(hi - lo);
  codes.fill(0);
  // A broken input must stay visible: its row decodes to NaN.
  if (!Number.isFinite(range)) return { codes, lo: Number.NaN, step: Number.NaN };
  const step = range > 0 ? fround(range / 15) : 0;
  if (step === 0) return { codes, lo, step };
  for (let k = 0; k < x.length; k++) {
    const code = roundTiesToEven(fround(fround(x[k]! - lo) / step));
    codes[k] = Math.min(Math.max(code, 0), 15);
  }
  return { codes, lo, step };
}

/** The values that codes stand for. */
export function decodeRow({ codes, lo, step }: CodedRow, out: Float32Array): void {
  for (let k = 0; k < out.length; k++) out[k] = lo + Math.fround(step * codes[k]!);
}

/** Nearest integer, ties to even; exact for every f32. */
function roundTiesToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** out[n] = sum over k of weight[n, k] * x[k]. */
export function multiplyDense(x: Float32Array, weight: DenseWeight, out: Float32Array): void {
  const { rows, columns, values } = weight;
  for (let n = 0; n < rows; n++) {
    const start = n * columns;
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += values[start + k]! * x[k]!;
    out[n] = sum;
  }
}

/** As `multiplyDense`, with W(1+1) weights on unquantized activations. */
export function multiplyW11(x: Float32Array, weight: W11Weight, out: Float32Array): void {
  const { rows, columns, groupSize, groups, index, levels } = weight;
  for (let n = 0; n < rows; n++) {
    let sum = 0;
    for (let g = 0; g < groups; g++) {
      const first = 4 * (n * groups + g);
      const end = Math.min((g + 1) * groupSize, columns);
      for (let k = g * groupSize; k < end; k++) sum += levels[first + index[n * columns + k]!]! * x[k]!;
    }
    out[n] = sum;
  }
}

/**
 * W(1+1)A4. A group's weights have four levels, so its dot product is level by level the level times the sum of x^ over
 * the columns at that level, and that sum is lo * count + step * (an exact integer sum of codes). This is the masked
 * form of the weights section of docs/numerics.md with its terms gathered by level.
 */
export function multiplyW11Coded(row: CodedRow, weight: W11Weight, out: Float32Array): void {
  const { rows, columns, groupSize, groups, index, levels } = weight;
  const { codes, lo, step } = row;
  const codeSums = new Float64Array(4);
  const counts = new Float64Array(4);
  for (let n = 0; n < rows; n++) {
    let sum = 0;
    for (let g = 0; g < groups; g++) {
      codeSums.fill(0);
      counts.fill(0);
      const end = Math.min((g + 1) * groupSize, columns);
      for (let k = g * groupSize; k < end; k++) {
        const level = index[n * columns + k]!;
        codeSums[level]! += codes[k]!;
        counts[level]! += 1;
      }
      const first = 4 * (n * groups + g);
      for (let level = 0; level < 4; level++)
        sum += levels[first + level]! * (step * codeSums[level]! + lo * counts[level]!);
    }
    out[n] = sum;
  }
}

/**
 * Rotates (x[i], x[i + headSize / 2]) of every head by position * frequencies[i] radians, in place (the "rotate half"
 * pairing of Hugging Face checkpoints).
 */
export function rotateRow(
  x: Float32Array,
  headCount: number,
  position: number,
  frequencies: Float64Array,
): void {
  const half = frequencies.length;
  for (let i = 0; i < half; i++) {
    const angle = position * frequencies[i]!;
    const cosine = Math.cos(angle);
    const sine = Math.sin(angle);
    for (let head = 0; head < headCount; head++) {
      const first = head * 2 * half + i;
      const a = x[first]!;
      const b = x[first + half]!;
      x[first] = a * cosine - b * sine;
      x[first + half] = b * cosine + a * sine;
    }
  }
}

/** Cached keys and values of one layer, [capacity, width] each, width = kvHeadCount * headSize. */
export interface LayerCache {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/**
 * Softmax attention of one query row over cached positions `from` … `to` inclusive; scores are q·k / sqrt(headSize).
 * Query head h reads key/value head floor(h * kvHeadCount / headCount) (Ainslie et al. 2023, grouped queries).
 */
export function attendRow(
  query: Float32Array,
  cache: LayerCache,
  heads: { readonly headCount: number; readonly kvHeadCount: number; readonly headSize: number },
  from: number,
  to: number,
  out: Float32Array,
): void {
  const { headCount, kvHeadCount, headSize } = heads;
  const width = kvHeadCount * headSize;
  const sharing = headCount / kvHeadCount;
  const scores = new Float64Array(to - from + 1);
  const sums = new Float64Array(headSize);
  for (let head = 0; head < headCount; head++) {
    const queryStart = head * headSize;
    const kvStart = Math.floor(head / sharing) * headSize;
    let highest = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < scores.length; j++) {
      const start = (from + j) * width + kvStart;
      let dot = 0;
      for (let i = 0; i < headSize; i++) dot += query[queryStart + i]! * cache.keys[start + i]!;
      scores[j] = dot / Math.sqrt(headSize);
      highest = Math.max(highest, scores[j]!);
    }
    let total = 0;
    sums.fill(0);
    for (let j = 0; j < scores.length; j++) {
      const share = Math.exp(scores[j]! - highest);
      const start = (from + j) * width + kvStart;
      for (let i = 0; i < headSize; i++) sums[i]! += share * cache.values[start + i]!;
      total += share;
    }
    for (let i = 0; i < headSize; i++) out[queryStart + i] = sums[i]! / total;
  }
}

/** out = gate * sigmoid(gate) * up (Shazeer 2020, SwiGLU). */
export function gateRow(gate: Float32Array, up: Float32Array, out: Float32Array): void {
  for (let i = 0; i < gate.length; i++) out[i] = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
}

/** sums[i][j] += x[i] * y[j]; row-major. */
export function addOuterProduct(x: Float32Array, y: Float32Array, sums: Float64Array): void {
  for (let i = 0; i < x.length; i++)
    for (let j = 0; j < y.length; j++) sums[i * y.length + j]! += x[i]! * y[j]!;
}
