// The four levels of a group as the container stores them: two pairs, each a half distance alpha and a middle mu in f16.
import {
  DuobitError,
  f16ToF32,
  f32ToF16,
  groupCount,
  packW11,
  type TensorData,
  unpackBits,
} from '@duobit/format';
import type { PackedLayer } from './layer-method.ts';

/** Which two of the four levels, ascending, share an alpha and a mu: the inner two and the outer two, or the lower and upper. */
export type Pairing = 'nested' | 'halves';

/** Indices of the levels [low, high] under bitmap 0 and 1. */
const PAIRS: Readonly<Record<Pairing, readonly [readonly [number, number], readonly [number, number]]>> = {
  nested: [
    [1, 2],
    [0, 3],
  ],
  halves: [
    [0, 1],
    [2, 3],
  ],
};

/** Alpha and mu [rows, groups, 2], and the levels they give with their codes (bit 0 sign, bit 1 bitmap), ascending. */
export interface StoredLevels {
  readonly alpha: Float32Array<ArrayBuffer>;
  readonly mu: Float32Array<ArrayBuffer> | null;
  /** [rows, groups, 4], ascending */
  readonly levels: Float32Array<ArrayBuffer>;
  /** [rows, groups, 4]: the code of each level */
  readonly codes: Uint8Array<ArrayBuffer>;
}

/** Which weights some groups belong to, for messages. */
export interface LevelPlace {
  readonly name: string;
  readonly firstRow?: number;
  readonly firstColumn?: number;
  /** Groups of a row. */
  readonly groups: number;
  readonly groupSize: number;
}

/**
 * Rounds fitted levels to what is stored.
 * @param fitted [rows, groups, 4], each four ascending
 * @param offsets false stores no mu: the levels come out symmetric about zero
 * @throws DuobitError `QUANTIZE_OUT_OF_RANGE` naming the first group that f16 cannot hold
 */
export function storeLevels(
  fitted: Float32Array | Float64Array,
  { offsets, pairing }: { readonly offsets: boolean; readonly pairing: Pairing },
  place: LevelPlace,
): StoredLevels {
  const count = fitted.length / 4;
  const alpha = new Float32Array(count * 2);
  const mu = offsets ? new Float32Array(count * 2) : null;
  const levels = new Float32Array(count * 4);
  const codes = new Uint8Array(count * 4);
  for (let group = 0; group < count; group++) {
    for (let m = 0; m < 2; m++) {
      const [lower, upper] = PAIRS[pairing][m]!;
      const low = fitted[group * 4 + lower]!;
      const high = fitted[group * 4 + upper]!;
      const half = roundToF16(high / 2 - low / 2);
      const middle = offsets ? roundToF16(high / 2 + low / 2) : 0;
      if (!(Number.isFinite(half) && Number.isFinite(middle))) throw outOfRange(place, group);
      alpha[group * 2 + m] = half;
      if (mu) mu[group * 2 + m] = middle;
      levels[group * 4 + 2 * m] = middle - half;
      levels[group * 4 + 2 * m + 1] = middle + half;
      codes[group * 4 + 2 * m] = 2 * m;
      codes[group * 4 + 2 * m + 1] = 2 * m + 1;
    }
    sortFour(levels, codes, group * 4);
  }
  return { alpha, mu, levels, codes };
}

/**
 * Planes of rows whose weights are the levels that `indices` [rows, columns] name, 0 to 3 ascending, and the values that they
 * stand for.
 */
export function packLevels(
  { alpha, mu, levels, codes }: StoredLevels,
  indices: Uint8Array,
  {
    rows,
    columns,
    groupSize,
  }: { readonly rows: number; readonly columns: number; readonly groupSize: number },
): { planes: TensorData['planes']; approximation: Float32Array<ArrayBuffer> } {
  const groups = Math.ceil(columns / groupSize);
  const sign = new Uint8Array(rows * columns);
  const bitmap = new Uint8Array(rows * columns);
  const approximation = new Float32Array(rows * columns);
  for (let row = 0, i = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const end = row * columns + Math.min(columns, (group + 1) * groupSize);
      for (; i < end; i++) {
        const level = (row * groups + group) * 4 + indices[i]!;
        const code = codes[level]!;
        sign[i] = code & 1;
        bitmap[i] = code >> 1;
        approximation[i] = levels[level]!;
      }
    }
  return { planes: packW11({ rows, columns, groupSize, sign, bitmap, alpha, mu }), approximation };
}

/**
 * What `packLevels` packed: the four levels of every group, ascending, and of every weight which it has.
 * @param shape [N, K]
 */
export function readLevels(
  { encoding, planes }: PackedLayer,
  [rows, columns]: readonly [rows: number, columns: number],
): { levels: Float32Array<ArrayBuffer>; codes: Uint8Array } {
  if (encoding.kind !== 'w11') throw new TypeError(`${encoding.kind} has no levels`);
  const { groupSize } = encoding;
  const groups = groupCount(columns, groupSize);
  const half = readF16(planes.alpha!);
  const middle = planes.mu ? readF16(planes.mu) : new Float32Array(half.length);
  const levels = new Float32Array(half.length * 2);
  for (let i = 0; i < half.length; i++) {
    levels[2 * i] = middle[i]! - half[i]!;
    levels[2 * i + 1] = middle[i]! + half[i]!;
  }
  const order = new Uint8Array(levels.length).map((_, i) => i & 3);
  for (let first = 0; first < levels.length; first += 4) sortFour(levels, order, first);
  const place = placesOf(order);
  const codes = unpackBits(planes.sign!, rows, columns);
  const bitmap = unpackBits(planes.bitmap!, rows, columns);
  for (let row = 0, i = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, i++) {
      const first = (row * groups + Math.floor(column / groupSize)) * 4;
      codes[i] = place[first + codes[i]! + 2 * bitmap[i]!]!;
    }
  return { levels, codes };
}

function readF16(plane: Uint8Array): Float32Array {
  const view = new DataView(plane.buffer, plane.byteOffset, plane.byteLength);
  return Float32Array.from({ length: plane.byteLength / 2 }, (_, i) => f16ToF32(view.getUint16(2 * i, true)));
}

/** Where each of four went when they were sorted: `order` names what each place has now. */
export function placesOf(order: Uint8Array): Uint8Array {
  const places = new Uint8Array(order.length);
  for (let i = 0; i < order.length; i++) places[(i & ~3) + order[i]!] = i & 3;
  return places;
}

/** Sorts four levels and what belongs to them by value; ties keep their order. Rounding can make neighbours cross. */
export function sortFour(levels: Float32Array, codes: Uint8Array, start: number): void {
  for (let i = start + 1; i < start + 4; i++) {
    const level = levels[i]!;
    const code = codes[i]!;
    let j = i - 1;
    while (j >= start && levels[j]! > level) {
      levels[j + 1] = levels[j]!;
      codes[j + 1] = codes[j]!;
      j--;
    }
    levels[j + 1] = level;
    codes[j + 1] = code;
  }
}

function outOfRange(
  { name, firstRow = 0, firstColumn = 0, groups, groupSize }: LevelPlace,
  group: number,
): DuobitError {
  const row = firstRow + Math.floor(group / groups);
  return new DuobitError(
    'QUANTIZE_OUT_OF_RANGE',
    `weights of row ${row} from column ${firstColumn + (group % groups) * groupSize} on are too large: their alpha or mu exceeds 65504, the largest f16`,
    { where: name, remedy: 'Check the checkpoint; trained weights are far smaller than this' },
  );
}

function roundToF16(value: number): number {
  return f16ToF32(f32ToF16(value));
}
