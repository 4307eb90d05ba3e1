// Brings weights into linear memory in the layouts that the kernels read. Each tensor is packed as it arrives, so that no
// second copy of the model exists.
import {
  DuobitError,
  decodeTensor,
  encodedPlaneLengths,
  f16ToF32,
  groupCount,
  int4RowStride,
  int8RowStride,
  type PlaneRole,
  type TensorData,
} from '@duobit/format';
import type { Heap } from './heap.ts';

/** f32. A matrix is laid out as assembly/dense.ts describes it; a vector is plain, padded to 16 bytes. */
export interface DenseWeight {
  readonly kind: 'dense';
  readonly rows: number;
  readonly columns: number;
  readonly pointer: number;
}

/** Codes and scales as assembly/integer-dense.ts describes them. */
export interface IntegerWeight {
  readonly kind: 'int8' | 'int4';
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly pointer: number;
  readonly scales: number;
}

/** Tiles of 16 rows as assembly/w11.ts describes them. */
export interface W11Weight {
  readonly kind: 'w11';
  readonly rows: number;
  readonly columns: number;
  readonly tiles: number;
  readonly groups: number;
  /** Units of 16 columns in a group, and in the last group. */
  readonly unitsPerGroup: number;
  readonly lastUnits: number;
  readonly pointer: number;
  /** f32 sum of each row's decoded weights, summed in double. */
  readonly rowSums: number;
}

const LEVEL_BYTES = 128;
const UNIT_BYTES = 64;

export function padTo(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

function matrixShape({ shape }: TensorData['info']): { rows: number; columns: number } {
  return { rows: shape.length === 2 ? shape[0]! : 1, columns: shape[shape.length - 1] ?? 1 };
}

/** @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH` */
function requirePlanes(data: TensorData): (role: PlaneRole) => Uint8Array<ArrayBuffer> {
  const lengths = encodedPlaneLengths(data.info.encoding, data.info.shape);
  const facts = { where: `tensor ${data.info.name}`, remedy: 'Get the file again, or make it again' };
  for (const [role, expected] of Object.entries(lengths) as [PlaneRole, number][]) {
    const actual = data.planes[role]?.byteLength;
    if (actual === undefined) throw new DuobitError('PLANE_MISSING', `plane "${role}" is missing`, facts);
    if (actual !== expected)
      throw new DuobitError('PLANE_LENGTH', `plane "${role}" has ${actual} bytes, not ${expected}`, facts);
  }
  return (role) => data.planes[role]!;
}

/** The plane's 16-bit words; a view where alignment allows. */
function readWords(plane: Uint8Array<ArrayBuffer>): Uint16Array {
  const aligned = plane.byteOffset % 2 === 0 ? plane : plane.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
}

/** The plane's f32 values; a view where alignment allows. */
function readFloats(plane: Uint8Array<ArrayBuffer>): Float32Array {
  const aligned = plane.byteOffset % 4 === 0 ? plane : plane.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}

let f16Values: Float32Array | undefined;
/** All 65,536 f16 values by their bits: 256 KiB, and many times faster than converting one by one. */
function f16Table(): Float32Array {
  f16Values ??= Float32Array.from({ length: 65_536 }, (_, bits) => f16ToF32(bits));
  return f16Values;
}

/** Packs a vector, such as a norm's weight, as f32. */
export function loadVector(heap: Heap, data: TensorData): DenseWeight {
  requirePlanes(data);
  const values = decodeTensor(data);
  const pointer = heap.allocate(padTo(values.length, 4) * 4, data.info.name);
  heap.floats(pointer, values.length).set(values);
  return { kind: 'dense', rows: 1, columns: values.length, pointer };
}

/**
 * Packs a matrix of f32, f16 or bf16 as f32; W(1+1) too, decoded, for products with unquantized activations,
 * W(1+1)A16.
 */
export function loadDense(heap: Heap, data: TensorData): DenseWeight {
  const { rows, columns } = matrixShape(data.info);
  const plane = requirePlanes(data);
  const width = padTo(columns, 4);
  const count = padTo(rows, 4) * width;
  const pointer = heap.allocate(count * 4, data.info.name);
  const { kind } = data.info.encoding;
  if (kind === 'f16') {
    const table = f16Table();
    const words = readWords(plane('dense'));
    interleave(heap.floats(pointer, count), rows, columns, (i) => table[words[i]!]!);
  } else if (kind === 'bf16') {
    const words = readWords(plane('dense'));
    interleave(heap.integers(pointer, count), rows, columns, (i) => words[i]! << 16);
  } else {
    const values = kind === 'f32' ? readFloats(plane('dense')) : decodeTensor(data);
    interleave(heap.floats(pointer, count), rows, columns, (i) => values[i]!);
  }
  return { kind: 'dense', rows, columns, pointer };
}

/** Row-major values to [row / 4][chunk][4 rows][4 columns]. */
function interleave(
  target: Float32Array | Int32Array,
  rows: number,
  columns: number,
  value: (index: number) => number,
): void {
  const width = padTo(columns, 4);
  for (let row = 0; row < rows; row++) {
    const to = (row - (row & 3)) * width + (row & 3) * 4;
    for (let k = 0; k < columns; k++) target[to + (k >> 2) * 16 + (k & 3)] = value(row * columns + k);
  }
}

/** Packs grouped int8 or int4. */
export function loadInteger(heap: Heap, data: TensorData, kind: 'int8' | 'int4'): IntegerWeight {
  const { rows, columns } = matrixShape(data.info);
  const { encoding, name } = data.info;
  const groupSize = 'groupSize' in encoding ? encoding.groupSize : 0;
  const plane = requirePlanes(data);
  const groups = groupCount(columns, groupSize);
  const paddedRows = padTo(rows, 4);
  const stride = kind === 'int8' ? padTo(columns, 16) : padTo(columns, 32) / 2;
  const pointer = heap.allocate(paddedRows * stride, name);
  const scales = heap.allocate(paddedRows * groups * 4, name);

  const codes = plane('codes');
  if (kind === 'int8') packBytes(codes, heap.bytes(pointer, paddedRows * stride), rows, columns);
  else packNibbles(codes, heap.words(pointer, (paddedRows * stride) / 2), rows, columns);

  const table = f16Table();
  const words = readWords(plane('scale'));
  const target = heap.floats(scales, paddedRows * groups);
  for (let row = 0; row < rows; row++)
    for (let g = 0; g < groups; g++)
      target[((row >> 2) * groups + g) * 4 + (row & 3)] = table[words[row * groups + g]!]!;
  return { kind, rows, columns, groupSize, pointer, scales };
}

/** Rows of bytes to [row / 4][chunk][4 rows][16 columns]. */
function packBytes(codes: Uint8Array, target: Uint8Array, rows: number, columns: number): void {
  const from = int8RowStride(columns);
  const stride = padTo(columns, 16);
  for (let row = 0; row < rows; row++) {
    const to = (row - (row & 3)) * stride + (row & 3) * 16;
    for (let k = 0; k < columns; k++) target[to + (k >> 4) * 64 + (k & 15)] = codes[row * from + k]!;
  }
}

/**
 * Two's complement nibbles, low first, to code + 8 in chunks [row / 4][chunk][4 rows]: column 32 c + 8 i + j is
 * nibble i of word j of chunk c.
 */
function packNibbles(codes: Uint8Array, target: Uint16Array, rows: number, columns: number): void {
  const from = int4RowStride(columns);
  const words = padTo(columns, 32) / 4;
  for (let row = 0; row < rows; row++) {
    const to = (row - (row & 3)) * words + (row & 3) * 8;
    for (let k = 0; k < columns; k++) {
      const nibble = (codes[row * from + (k >> 1)]! >> ((k & 1) << 2)) & 15;
      target[to + (k >> 5) * 32 + (k & 7)]! |= (nibble ^ 8) << (((k >> 3) & 3) << 2);
    }
  }
}

/** Packs W(1+1) for the lookup kernel. */
export function loadW11(heap: Heap, data: TensorData): W11Weight {
  const { rows, columns } = matrixShape(data.info);
  const { encoding, name } = data.info;
  const groupSize = 'groupSize' in encoding ? encoding.groupSize : 0;
  const offsets = encoding.kind === 'w11' && encoding.offsets;
  const plane = requirePlanes(data);
  const groups = groupCount(columns, groupSize);
  const unitsPerGroup = groupSize / 16;
  const lastUnits = Math.ceil((columns - (groups - 1) * groupSize) / 16);
  const tiles = Math.ceil(rows / 16);
  const tileBytes = groups * LEVEL_BYTES + ((groups - 1) * unitsPerGroup + lastUnits) * UNIT_BYTES;
  const pointer = heap.allocate(tiles * tileBytes, name);
  const rowSums = heap.allocate(tiles * 64, name);

  const sign = plane('sign');
  const bitmap = plane('bitmap');
  const alpha = readWords(plane('alpha'));
  const mu = offsets ? readWords(plane('mu')) : null;
  const table = f16Table();
  const target = heap.bytes(pointer, tiles * tileBytes);
  const levels = heap.words(pointer, (tiles * tileBytes) / 2);
  const sums = heap.floats(rowSums, tiles * 16);
  const rowBytes = sign.length / rows;
  // Bits past the last column are not weights; they take part in no count.
  const lastMask = columns % 8 === 0 ? 255 : (1 << (columns % 8)) - 1;
  const lastByte = Math.ceil(columns / 8) - 1;

  for (let row = 0; row < rows; row++) {
    const r = row % 16;
    const lane = r < 8 ? 2 * r : 2 * r - 15;
    let at = ((row - r) / 16) * tileBytes;
    let sum = 0;
    for (let g = 0; g < groups; g++) {
      const level = at / 2 + r;
      const pair = (row * groups + g) * 2;
      const mu0 = mu ? mu[pair]! : 0;
      const mu1 = mu ? mu[pair + 1]! : 0;
      levels[level] = mu0;
      levels[level + 16] = alpha[pair]!;
      levels[level + 32] = mu1;
      levels[level + 48] = alpha[pair + 1]!;
      at += LEVEL_BYTES;

      const first = (g * groupSize) / 8;
      const end = Math.min(lastByte + 1, first + groupSize / 8);
      let signs = 0;
      let bits = 0;
      let both = 0;
      for (let i = first; i < end; i++) {
        const mask = i === lastByte ? lastMask : 255;
        const s = sign[row * rowBytes + i]! & mask;
        const m = bitmap[row * rowBytes + i]! & mask;
        const to = at + (i - first) * 32 + lane;
        target[to] = (s & 15) | ((m & 15) << 4);
        target[to + 16] = (s >> 4) | (m & 0xf0);
        signs += POPULATION[s]!;
        bits += POPULATION[m]!;
        both += POPULATION[s & m]!;
      }
      at += (g + 1 === groups ? lastUnits : unitsPerGroup) * UNIT_BYTES;
      const others = Math.min(groupSize, columns - g * groupSize) - bits;
      sum += table[mu0]! * others + table[alpha[pair]!]! * (2 * (signs - both) - others);
      sum += table[mu1]! * bits + table[alpha[pair + 1]!]! * (2 * both - bits);
    }
    sums[row] = sum;
  }
  return { kind: 'w11', rows, columns, tiles, groups, unitsPerGroup, lastUnits, pointer, rowSums };
}

/** Bits set in each byte value. */
const POPULATION = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest > 0; rest &= rest - 1) count++;
  return count;
});
