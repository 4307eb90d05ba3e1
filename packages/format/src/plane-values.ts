// What the bytes inside a plane must satisfy: finite scales, codes in range, pad bits zero. Works on any piece of
// a plane, so that validation can stream; a bad value's place is counted in the whole plane.
import { bitRowStride, int4RowStride, int8RowStride } from './encodings.ts';
import type { Encoding, TensorInfo } from './manifest.ts';

export interface ValueProblem {
  readonly code: 'VALUE_NOT_FINITE' | 'CODE_RANGE' | 'PADDING_NONZERO';
  readonly message: string;
}

/**
 * Checks `bytes`, which begin at byte `start` of the plane; `start` is a multiple of 256.
 * @returns the first problem or null
 */
export function checkPlaneValues(
  tensor: Pick<TensorInfo, 'encoding' | 'shape'>,
  role: string,
  bytes: Uint8Array,
  start: number,
): ValueProblem | null {
  const { encoding } = tensor;
  if (encoding.kind === 'unknown') return null;
  const columns = tensor.shape[1] ?? 1;
  switch (role) {
    case 'dense':
      return checkFinite(bytes, start, encoding.kind);
    case 'alpha':
    case 'mu':
    case 'scale':
    case 'outlier-scale':
    case 'salient-scale':
      return checkFinite(bytes, start, 'f16');
    case 'sign':
    case 'bitmap':
    case 'salient-mask':
      return checkRowPadding(bytes, start, bitRowStride(columns), columns);
    case 'codes':
      return encoding.kind === 'int4'
        ? checkRowPadding(bytes, start, int4RowStride(columns), 4 * columns)
        : checkInt8Codes(bytes, start, columns);
    case 'outlier-codes':
      return encoding.kind === 'w11-outlier' ? checkInt8Codes(bytes, start, encoding.outlierColumns) : null;
    case 'salient-codes': {
      if (encoding.kind !== 'partial-binary') return null;
      const { salientCount } = encoding;
      return checkRowPadding(bytes, start, 4 * Math.ceil(salientCount / 4), 8 * salientCount);
    }
    default:
      return null;
  }
}

function checkInt8Codes(bytes: Uint8Array, start: number, columns: number): ValueProblem | null {
  const padding = findRowPadding(bytes, start, int8RowStride(columns), 8 * columns);
  // Before the first bad byte of padding all padding is zero, so what is found there is a code.
  const lowest = indexOf(bytes.subarray(0, padding?.at ?? bytes.length), 0x80);
  if (lowest !== -1) return { code: 'CODE_RANGE', message: `the code at byte ${start + lowest} is -128` };
  return padding && paddingProblem(padding.row);
}

/** Node's Buffer searches many times faster than an array of bytes does. */
function indexOf(bytes: Uint8Array, byte: number): number {
  const { Buffer } = globalThis;
  return Buffer
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(byte)
    : bytes.indexOf(byte);
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** Exponent bits of a value. */
const EXPONENT = { f32: 0x7f800000, f16: 0x7c00, bf16: 0x7f80 } as const;

function checkFinite(bytes: Uint8Array, start: number, kind: Encoding['kind']): ValueProblem | null {
  if (kind !== 'f32' && kind !== 'f16' && kind !== 'bf16') return null;
  // Whole words first, where memory allows; only a plane with a problem is looked at value by value.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes.length - (bytes.length % 4) : 0;
  if (aligned > 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, aligned / 4);
    const finite =
      kind === 'f32' ? areFiniteF32(words) : kind === 'f16' ? areFiniteF16(words) : areFiniteBf16(words);
    if (finite && aligned === bytes.length) return null;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const valueBytes = kind === 'f32' ? 4 : 2;
  const mask = EXPONENT[kind];
  for (let at = 0; at < bytes.length; at += valueBytes) {
    const bits = valueBytes === 4 ? view.getUint32(at, true) : view.getUint16(at, true);
    if ((bits & mask) === mask) {
      const message = `value ${(start + at) / valueBytes} of the plane is NaN or infinite`;
      return { code: 'VALUE_NOT_FINITE', message };
    }
  }
  return null;
}

// One added to an exponent carries into the place above it exactly when all its bits are set. The numbers are written
// out in each function, as they are constants to the compiler only so; and a sum that overflows is cut to its bits.

function areFiniteF32(words: Int32Array): boolean {
  let carries = 0;
  for (let i = 0; i < words.length; i++) carries |= (words[i]! & 0x7f800000) + 0x00800000;
  return (carries & 0x80000000) === 0;
}

/** Two values a word. */
function areFiniteF16(words: Int32Array): boolean {
  let carries = 0;
  const fours = words.length - (words.length % 4);
  let i = 0;
  for (; i < fours; i += 4) {
    carries |=
      ((words[i]! & 0x7c007c00) + 0x04000400) |
      ((words[i + 1]! & 0x7c007c00) + 0x04000400) |
      ((words[i + 2]! & 0x7c007c00) + 0x04000400) |
      ((words[i + 3]! & 0x7c007c00) + 0x04000400);
  }
  for (; i < words.length; i++) carries |= (words[i]! & 0x7c007c00) + 0x04000400;
  return (carries & 0x80008000) === 0;
}

/** Two values a word. */
function areFiniteBf16(words: Int32Array): boolean {
  let carries = 0;
  for (let i = 0; i < words.length; i++) carries |= (words[i]! & 0x7f807f80) + 0x00800080;
  return (carries & 0x80008000) === 0;
}

/** Bits from `usedBits` to the end of every row are zero. */
function checkRowPadding(
  bytes: Uint8Array,
  start: number,
  stride: number,
  usedBits: number,
): ValueProblem | null {
  const found = findRowPadding(bytes, start, stride, usedBits);
  return found && paddingProblem(found.row);
}

function paddingProblem(row: number): ValueProblem {
  return { code: 'PADDING_NONZERO', message: `row ${row} has bits behind its last column` };
}

/** The first byte in `bytes` that has a bit behind the last column of its row. */
function findRowPadding(
  bytes: Uint8Array,
  start: number,
  stride: number,
  usedBits: number,
): { readonly at: number; readonly row: number } | null {
  const firstByte = Math.floor(usedBits / 8);
  if (firstByte === stride) return null;
  const firstMask = 0xff & (0xff << (usedBits % 8));
  const end = start + bytes.length;
  for (let row = Math.floor(start / stride); row * stride < end; row++) {
    for (let column = firstByte; column < stride; column++) {
      const at = row * stride + column - start;
      if (at < 0 || at >= bytes.length) continue;
      if ((bytes[at]! & (column === firstByte ? firstMask : 0xff)) !== 0) {
        return { at, row };
      }
    }
  }
  return null;
}
