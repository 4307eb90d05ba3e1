// Decoded values -> the bytes of a dense tensor. f32 keeps every bit; f16 and bf16 round to nearest, ties to even.
import { DuobitError, f32ToBf16, f32ToF16 } from '@duobit/format';

/** Types that values are exported in. */
export type ExportDtype = 'f32' | 'f16' | 'bf16';

export const ELEMENT_BYTES: Readonly<Record<ExportDtype, number>> = { f32: 4, f16: 2, bf16: 2 };
export const SAFETENSORS_DTYPES: Readonly<Record<ExportDtype, string>> = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
};
export const TORCH_DTYPES: Readonly<Record<ExportDtype, string>> = {
  f32: 'float32',
  f16: 'float16',
  bf16: 'bfloat16',
};

/** Magnitudes from here on round to infinity: half a step above the largest finite value. */
const ROUNDS_TO_INFINITY: Readonly<Record<ExportDtype, number>> = {
  f32: Number.POSITIVE_INFINITY,
  f16: 65_520,
  bf16: 2 ** 128 - 2 ** 119,
};

/** Values encoded at a time, so that a narrower copy of a large tensor is never held whole. */
const SLICE = 1 << 20;

/**
 * The little-endian bytes of a tensor's values, slice by slice. A slice may share memory with `values`.
 * @param source and `name` are for messages
 * @throws DuobitError `EXPORT_NOT_FINITE`, `EXPORT_OUT_OF_RANGE`
 */
export function* encodeValues(
  values: Float32Array<ArrayBuffer>,
  dtype: ExportDtype,
  source: string,
  name: string,
): Generator<Uint8Array> {
  for (let start = 0; start < values.length; start += SLICE) {
    const slice = values.subarray(start, Math.min(values.length, start + SLICE));
    checkSlice(slice, start, dtype, source, name);
    if (dtype === 'f32') {
      yield new Uint8Array(slice.buffer, slice.byteOffset, slice.byteLength);
    } else {
      const encode = dtype === 'f16' ? f32ToF16 : f32ToBf16;
      yield new Uint8Array(Uint16Array.from(slice, encode).buffer);
    }
  }
}

function checkSlice(
  slice: Float32Array,
  start: number,
  dtype: ExportDtype,
  source: string,
  name: string,
): void {
  const limit = ROUNDS_TO_INFINITY[dtype];
  for (let i = 0; i < slice.length; i++) {
    const value = slice[i]!;
    // False for NaN as well.
    if (Math.abs(value) < limit) continue;
    const where = `tensor ${name}, element ${start + i}`;
    if (Number.isFinite(value)) {
      throw new DuobitError('EXPORT_OUT_OF_RANGE', `${value} does not fit in ${dtype}`, {
        source,
        where,
        remedy: 'Leave --dtype out: f32 holds every value',
      });
    }
    throw new DuobitError('EXPORT_NOT_FINITE', `the value is ${value}`, {
      source,
      where,
      remedy: 'Make the model again from a sound checkpoint; a model with such a weight cannot work',
    });
  }
}
