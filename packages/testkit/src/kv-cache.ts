// What a KV cache of each precision holds, docs/numerics.md "KV cache": the same bits on every backend.
import type { KvPrecision } from '@duobit/core';
import { f16ToF32, f32ToF16 } from '@duobit/format';

/** Dimensions of a head that share offset and step; positions whose shares may be rounded with one step. */
export const KV_GROUP = 32;

/** One row of keys or values as it is read back. */
export interface CachedRow {
  readonly values: readonly number[];
  /** |offset| + step * code where there are codes, else |value|: what roundings on the way are relative to. */
  readonly magnitudes: readonly number[];
  /** Step and code of each value; 0 where there are no codes. */
  readonly steps: readonly number[];
  readonly codes: readonly number[];
}

/** @param row one position, kvHeadCount * headSize values */
export function cacheValues(row: Float32Array, kv: KvPrecision, headSize: number): CachedRow {
  if (kv === 'f32') return withoutCodes([...row]);
  const limited = Array.from(row, (value) =>
    Number.isFinite(value) ? Math.max(-65504, Math.min(65504, value)) : Number.NaN,
  );
  if (kv === 'f16') return withoutCodes(limited.map(roundToHalf));
  const levels = kv === 'int8' ? 255 : 15;
  const values: number[] = [];
  const magnitudes: number[] = [];
  const steps: number[] = [];
  const codes: number[] = [];
  for (let head = 0; head < row.length; head += headSize)
    for (let d = 0; d < headSize; d += KV_GROUP)
      for (const [offset, step, code] of encode(
        limited.slice(head + d, head + Math.min(headSize, d + KV_GROUP)),
        levels,
      )) {
        values.push(offset + step * code);
        magnitudes.push(Math.abs(offset) + step * code);
        steps.push(step);
        codes.push(code);
      }
  return { values, magnitudes, steps, codes };
}

function withoutCodes(values: readonly number[]): CachedRow {
  const none = values.map(() => 0);
  return { values, magnitudes: values.map(Math.abs), steps: none, codes: none };
}

function roundToHalf(value: number): number {
  return f16ToF32(f32ToF16(value));
}

/** Offset, step and code of each value of a group; every step an f32 operation. */
function encode(group: readonly number[], levels: number): (readonly [number, number, number])[] {
  const f = Math.fround;
  if (group.some(Number.isNaN)) return group.map(() => [Number.NaN, 0, 0]);
  const lo = roundToHalf(Math.min(...group));
  const step = roundToHalf(f(f(Math.max(...group) - lo) / levels));
  return group.map((value) => {
    if (!(step > 0)) return [lo, 0, 0];
    const t = f(f(value - lo) / step);
    const down = Math.floor(t);
    const rest = t - down;
    const nearest = rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
    return [lo, step, Math.max(0, Math.min(levels, nearest))];
  });
}
