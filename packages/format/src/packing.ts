// Values and codes -> planes. Every layout here is bit-exact in docs/format.md, "Encodings".
import { bitRowStride, groupCount, int4RowStride, int8RowStride } from './encodings.ts';
import { DuobitError } from './errors.ts';
import { f32ToBf16, f32ToF16 } from './float16.ts';
import type { TensorData } from './manifest.ts';
import type { InputRotation } from './rotation.ts';

/** Bytes of planes by their roles. */
export type Planes = TensorData['planes'];

interface Grid {
  /** Output channels N. */
  readonly rows: number;
  /** Input channels K. */
  readonly columns: number;
  readonly groupSize: number;
}

/** What `packW11` packs. */
export interface W11Input extends Grid {
  /** [N, K], each 0 or 1: whether the level is above its pair's middle. */
  readonly sign: Uint8Array;
  /** [N, K], each 0 or 1: which pair of levels. */
  readonly bitmap: Uint8Array;
  /** [N, groups, 2], half the distance of each pair; rounded to f16. */
  readonly alpha: Float32Array;
  /** [N, groups, 2], the middle of each pair; rounded to f16. Null: both pairs are centred on zero. */
  readonly mu: Float32Array | null;
}

/** What `packW11Outlier` packs. */
export interface W11OutlierInput extends W11Input {
  /**
   * Columns in 8 bits, ascending, at least one. What sign and bitmap say of them is ignored, unless the tensor is for a
   * rotated input, whose columns are others.
   */
  readonly outlierIndex: Uint32Array;
  /** [N, outliers], -127..127. */
  readonly outlierCodes: Int8Array;
  /** [N]; rounded to f16. */
  readonly outlierScale: Float32Array;
  /** That of the tensor. */
  readonly inputRotation?: InputRotation | undefined;
}

/** What `packPartialBinary` packs. */
export interface PartialBinaryInput extends Grid {
  /** [N, K], each 0 or 1: whether the weight is above its group's middle. Ignored where salient. */
  readonly sign: Uint8Array;
  /** [N, groups], half the distance of the two levels; rounded to f16. */
  readonly alpha: Float32Array;
  /** [N, groups], their middle; rounded to f16. */
  readonly mu: Float32Array;
  /** [N, K], each 0 or 1: the weights in 8 bits, at least one. */
  readonly salient: Uint8Array;
  /** [N, K]; ignored where not salient. */
  readonly salientCodes: Uint8Array;
  /** [N]; w = minimum + scale * code. Rounded to f16. */
  readonly salientScale: Float32Array;
  /** [N]; rounded to f16. */
  readonly salientMinimum: Float32Array;
}

/** Codes and scales of an integer encoding, row by row. */
export interface IntegerInput extends Grid {
  /** [N, K]. */
  readonly codes: Int8Array;
  /** [N, groups]; rounded to f16. */
  readonly scale: Float32Array;
}

function requireLength(what: string, found: number, expected: number): void {
  if (found !== expected) {
    throw new DuobitError('PACK_LENGTH', `${what} has ${found} values, but ${expected} are needed`, {
      where: what,
    });
  }
}

/** @throws DuobitError `VALUE_NOT_FINITE` when a value is not finite, or not so any more as f16. */
function packF16(values: Float32Array, what: string): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(2 * values.length));
  for (let i = 0; i < values.length; i++) {
    const bits = f32ToF16(values[i]!);
    if ((bits & 0x7c00) === 0x7c00) throwNotFinite(what, i, values[i]!, 'f16');
    view.setUint16(2 * i, bits, true);
  }
  return new Uint8Array(view.buffer);
}

function throwNotFinite(what: string, index: number, value: number, kind: string): never {
  throw new DuobitError('VALUE_NOT_FINITE', `value ${index} is ${value}, which has no finite ${kind}`, {
    where: what,
    remedy: 'Check the weights for NaN, infinity or values out of range',
  });
}

/** [N, K] of 0 and 1 -> rows of `bitRowStride(K)` bytes; column k is bit k & 7 of byte k >> 3. */
export function packBits(bits: Uint8Array, rows: number, columns: number): Uint8Array<ArrayBuffer> {
  requireLength('bits', bits.length, rows * columns);
  const stride = bitRowStride(columns);
  const packed = new Uint8Array(rows * stride);
  const whole = Math.floor(columns / 8);
  let seen = 0;
  for (let row = 0; row < rows; row++) {
    let k = row * columns;
    const end = k + columns;
    let at = row * stride;
    for (let i = 0; i < whole; i++, k += 8) {
      const b0 = bits[k]!;
      const b1 = bits[k + 1]!;
      const b2 = bits[k + 2]!;
      const b3 = bits[k + 3]!;
      const b4 = bits[k + 4]!;
      const b5 = bits[k + 5]!;
      const b6 = bits[k + 6]!;
      const b7 = bits[k + 7]!;
      seen |= b0 | b1 | b2 | b3 | b4 | b5 | b6 | b7;
      packed[at++] = b0 | (b1 << 1) | (b2 << 2) | (b3 << 3) | (b4 << 4) | (b5 << 5) | (b6 << 6) | (b7 << 7);
    }
    for (let bit = 0; k < end; k++, bit++) {
      seen |= bits[k]!;
      packed[at]! |= bits[k]! << bit;
    }
  }
  if (seen > 1) {
    throw new DuobitError('CODE_RANGE', 'bits must be 0 or 1', { remedy: 'Give one byte a bit' });
  }
  return packed;
}

/** The inverse of `packBits`: [N, K] of 0 and 1. */
export function unpackBits(plane: Uint8Array, rows: number, columns: number): Uint8Array<ArrayBuffer> {
  const stride = bitRowStride(columns);
  requireLength('bit plane', plane.length, rows * stride);
  const bits = new Uint8Array(rows * columns);
  for (let row = 0, i = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) bits[i++] = (plane[row * stride + Math.floor(k / 8)]! >> (k & 7)) & 1;
  }
  return bits;
}

/** @throws DuobitError `PACK_LENGTH`, `CODE_RANGE`, `VALUE_NOT_FINITE` */
export function packW11(input: W11Input): Planes {
  const levels = 2 * input.rows * groupCount(input.columns, input.groupSize);
  requireLength('alpha', input.alpha.length, levels);
  if (input.mu) requireLength('mu', input.mu.length, levels);
  const planes = {
    sign: packBits(input.sign, input.rows, input.columns),
    bitmap: packBits(input.bitmap, input.rows, input.columns),
    alpha: packF16(input.alpha, 'alpha'),
  };
  return input.mu ? { ...planes, mu: packF16(input.mu, 'mu') } : planes;
}

/**
 * The encoding has as many outlier columns as `outlierIndex` has numbers.
 * @throws DuobitError `PACK_LENGTH`, `CODE_RANGE`, `VALUE_NOT_FINITE`, `OUTLIER_INDEX`
 */
export function packW11Outlier(input: W11OutlierInput): Planes {
  const { rows, columns, outlierIndex, outlierCodes, outlierScale } = input;
  const count = outlierIndex.length;
  requireLength('outlier codes', outlierCodes.length, rows * count);
  requireLength('outlier scale', outlierScale.length, rows);
  requireCodes(outlierCodes, -127, 127);
  const view = new DataView(new ArrayBuffer(4 * count));
  const keep = new Uint8Array(columns).fill(1);
  for (const [i, column] of outlierIndex.entries()) {
    if (column >= columns || (i > 0 && column <= outlierIndex[i - 1]!)) {
      const message = `outlier ${i} is in column ${column} of ${columns}, or not after the one before`;
      throw new DuobitError('OUTLIER_INDEX', message, { remedy: 'Give column numbers in ascending order' });
    }
    view.setUint32(4 * i, column, true);
    keep[column] = 0;
  }
  const clear = (bits: Uint8Array) =>
    input.inputRotation === undefined ? bits.map((bit, i) => bit & keep[i % columns]!) : bits;
  return {
    ...packW11({ ...input, sign: clear(input.sign), bitmap: clear(input.bitmap) }),
    'outlier-index': new Uint8Array(view.buffer),
    'outlier-codes': packBytes(outlierCodes, rows, count),
    'outlier-scale': packF16(outlierScale, 'outlier scale'),
  };
}

/**
 * The encoding's salient count is the number of ones in `salient`.
 * @throws DuobitError `PACK_LENGTH`, `CODE_RANGE`, `VALUE_NOT_FINITE`
 */
export function packPartialBinary(input: PartialBinaryInput): Planes {
  const { rows, columns, groupSize, salient, salientCodes, salientScale, salientMinimum } = input;
  const groups = rows * groupCount(columns, groupSize);
  requireLength('alpha', input.alpha.length, groups);
  requireLength('mu', input.mu.length, groups);
  requireLength('sign', input.sign.length, rows * columns);
  requireLength('salient codes', salientCodes.length, rows * columns);
  requireLength('salient scale', salientScale.length, rows);
  requireLength('salient minimum', salientMinimum.length, rows);
  const mask = packBits(salient, rows, columns);
  const offsets = new DataView(new ArrayBuffer(4 * (rows + 1)));
  const scale = new Float32Array(2 * rows);
  let count = 0;
  for (let row = 0; row < rows; row++) {
    scale.set([salientScale[row]!, salientMinimum[row]!], 2 * row);
    for (let i = row * columns; i < (row + 1) * columns; i++) count += salient[i]!;
    offsets.setUint32(4 * (row + 1), count, true);
  }
  const codes = new Uint8Array(4 * Math.ceil(count / 4));
  let next = 0;
  for (let i = 0; i < salient.length; i++) if (salient[i]) codes[next++] = salientCodes[i]!;
  return {
    sign: packBits(
      input.sign.map((bit, i) => (salient[i] ? 0 : bit)),
      rows,
      columns,
    ),
    alpha: packF16(input.alpha, 'alpha'),
    mu: packF16(input.mu, 'mu'),
    'salient-mask': mask,
    'salient-codes': codes,
    'salient-scale': packF16(scale, 'salient scale'),
    'salient-offsets': new Uint8Array(offsets.buffer),
  };
}

/** [N, columns] of 8-bit codes -> rows of `int8RowStride(columns)` bytes. */
function packBytes(codes: Int8Array, rows: number, columns: number): Uint8Array<ArrayBuffer> {
  const stride = int8RowStride(columns);
  const packed = new Uint8Array(rows * stride);
  const unsigned = new Uint8Array(codes.buffer, codes.byteOffset, codes.length);
  for (let row = 0; row < rows; row++) {
    packed.set(unsigned.subarray(row * columns, (row + 1) * columns), row * stride);
  }
  return packed;
}

/** Codes -127..127. @throws DuobitError `PACK_LENGTH`, `CODE_RANGE`, `VALUE_NOT_FINITE` */
export function packInt8({ rows, columns, groupSize, codes, scale }: IntegerInput): Planes {
  requireLength('codes', codes.length, rows * columns);
  requireLength('scale', scale.length, rows * groupCount(columns, groupSize));
  requireCodes(codes, -127, 127);
  return { codes: packBytes(codes, rows, columns), scale: packF16(scale, 'scale') };
}

/** Codes -8..7; the even column is the low nibble. @throws DuobitError as `packInt8` */
export function packInt4({ rows, columns, groupSize, codes, scale }: IntegerInput): Planes {
  requireLength('codes', codes.length, rows * columns);
  requireLength('scale', scale.length, rows * groupCount(columns, groupSize));
  requireCodes(codes, -8, 7);
  const stride = int4RowStride(columns);
  const packed = new Uint8Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) {
      packed[row * stride + Math.floor(k / 2)]! |= (codes[row * columns + k]! & 15) << (4 * (k & 1));
    }
  }
  return { codes: packed, scale: packF16(scale, 'scale') };
}

function requireCodes(codes: Int8Array, least: number, most: number): void {
  for (let i = 0; i < codes.length; i++) {
    if (codes[i]! < least || codes[i]! > most) {
      throw new DuobitError('CODE_RANGE', `code ${i} is ${codes[i]}, outside ${least}..${most}`, {
        where: 'codes',
      });
    }
  }
}

/** Row-major values, little-endian. @throws DuobitError `VALUE_NOT_FINITE` */
export function packDense(values: Float32Array, kind: 'f32' | 'f16' | 'bf16'): Planes {
  if (kind === 'f16') return { dense: packF16(values, 'dense') };
  const view = new DataView(new ArrayBuffer((kind === 'f32' ? 4 : 2) * values.length));
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (kind === 'f32') {
      if (!Number.isFinite(value)) throwNotFinite('dense', i, value, kind);
      view.setFloat32(4 * i, value, true);
    } else {
      const bits = f32ToBf16(value);
      if ((bits & 0x7f80) === 0x7f80) throwNotFinite('dense', i, value, kind);
      view.setUint16(2 * i, bits, true);
    }
  }
  return { dense: new Uint8Array(view.buffer) };
}
