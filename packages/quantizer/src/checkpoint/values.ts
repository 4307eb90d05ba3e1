// Dense number formats widened to f32, and the search for values that no quantizer can take.
import { bf16ToF32, f16ToF32 } from '@duobit/format';

export type DenseKind = 'f32' | 'f16' | 'bf16';

export const DENSE_BYTES: Readonly<Record<DenseKind, number>> = { f32: 4, f16: 2, bf16: 2 };

function makeTable(convert: (bits: number) => number): Float32Array {
  return Float32Array.from({ length: 65_536 }, (_, bits) => convert(bits));
}

/** All 65,536 values of a 16-bit format: one look-up a weight instead of a conversion. */
const tables: { f16?: Float32Array; bf16?: Float32Array } = {};

export function f16Table(): Float32Array {
  return (tables.f16 ??= makeTable(f16ToF32));
}

/** Writes the little-endian values of `bytes` to `out` from index `at`. `bytes` owns its buffer. */
export function widen(bytes: Uint8Array<ArrayBuffer>, kind: DenseKind, out: Float32Array, at: number): void {
  if (kind === 'f32') {
    out.set(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), at);
    return;
  }
  const table = kind === 'f16' ? f16Table() : (tables.bf16 ??= makeTable(bf16ToF32));
  const codes = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  for (let i = 0; i < codes.length; i++) out[at + i] = table[codes[i]!]!;
}

/** Index of the first NaN or infinity, or -1. */
export function findNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) return i;
  return -1;
}
