// Brings weights into linear memory in the layouts that the kernels read. Each tensor is packed as it arrives, so that no
// second copy of the model exists.
import {
  bitRowStride,
  DuobitError,
  decodeTensor,
  encodedPlaneLengths,
  f16ToF32,
  groupCount,
  type PlaneRole,
  type TensorData,
} from '@duobit/format';
import type { Heap } from './heap.ts';
import type { Kernels } from './kernels.ts';
import { clearPadding, copyBytes, interleaveRow, packBytes, packNibbles } from './packing.ts';

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
const TILE_ROWS = 16;
/** Bytes of scratch while a tile is packed: the constant of this name in assembly/pack.ts. */
const PACK_SCRATCH = 256;

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

/** The plane's values; a view where alignment allows. */
function readPlane<T>(
  type: { readonly BYTES_PER_ELEMENT: number; new (buffer: ArrayBuffer, offset: number, length: number): T },
  plane: Uint8Array<ArrayBuffer>,
): T {
  const size = type.BYTES_PER_ELEMENT;
  const aligned = plane.byteOffset % size === 0 ? plane : plane.slice();
  return new type(aligned.buffer, aligned.byteOffset, aligned.byteLength / size);
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
  const target = heap.integers(pointer, count);
  const { kind } = data.info.encoding;
  if (kind === 'f16' || kind === 'bf16') {
    const values = readPlane(Uint16Array, plane('dense'));
    const table = new Int32Array(f16Table().buffer);
    const row = new Int32Array(columns);
    for (let n = 0; n < rows; n++) {
      const from = n * columns;
      if (kind === 'f16') for (let k = 0; k < columns; k++) row[k] = table[values[from + k]!]!;
      else for (let k = 0; k < columns; k++) row[k] = values[from + k]! << 16;
      interleaveRow(row, 0, columns, target, n, width);
    }
  } else {
    const values =
      kind === 'f32' ? readPlane(Int32Array, plane('dense')) : new Int32Array(decodeTensor(data).buffer);
    for (let n = 0; n < rows; n++) interleaveRow(values, n * columns, columns, target, n, width);
  }
  return { kind: 'dense', rows, columns, pointer };
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

  const pack = kind === 'int8' ? packBytes : packNibbles;
  pack(
    readPlane(Int32Array, plane('codes')),
    heap.integers(pointer, (paddedRows * stride) / 4),
    rows,
    columns,
  );

  const table = f16Table();
  const words = readPlane(Uint16Array, plane('scale'));
  const target = heap.floats(scales, paddedRows * groups);
  for (let row = 0; row < rows; row++)
    for (let g = 0; g < groups; g++)
      target[((row >> 2) * groups + g) * 4 + (row & 3)] = table[words[row * groups + g]!]!;
  return { kind, rows, columns, groupSize, pointer, scales };
}

/** Packs W(1+1) for the lookup kernel. */
export function loadW11(heap: Heap, kernels: Kernels, data: TensorData): W11Weight {
  const { rows, columns } = matrixShape(data.info);
  const { encoding, name } = data.info;
  const groupSize = 'groupSize' in encoding ? encoding.groupSize : 0;
  const offsets = encoding.kind === 'w11' && encoding.offsets;
  const plane = requirePlanes(data);
  const groups = groupCount(columns, groupSize);
  const unitsPerGroup = groupSize / 16;
  const lastUnits = Math.ceil((columns - (groups - 1) * groupSize) / 16);
  const tiles = Math.ceil(rows / TILE_ROWS);
  const tileBytes = groups * LEVEL_BYTES + ((groups - 1) * unitsPerGroup + lastUnits) * UNIT_BYTES;
  const pointer = heap.allocate(tiles * tileBytes, name);
  const rowSums = heap.allocate(tiles * 64, name);

  // A tile is packed from copies of its rows, which any plane's alignment and any number of rows give alike. They lie past
  // what was allocated, where all is zero again at last.
  const bitBytes = TILE_ROWS * bitRowStride(columns);
  const levelBytes = TILE_ROWS * groups * 4;
  const sign = heap.borrow(2 * (bitBytes + levelBytes) + PACK_SCRATCH, name);
  const bitmap = sign + bitBytes;
  const alpha = bitmap + bitBytes;
  const mu = alpha + levelBytes;
  const scratch = mu + levelBytes;
  const copies = [
    { from: plane('sign'), to: heap.bytes(sign, bitBytes) },
    { from: plane('bitmap'), to: heap.bytes(bitmap, bitBytes) },
    { from: plane('alpha'), to: heap.bytes(alpha, levelBytes) },
    ...(offsets ? [{ from: plane('mu'), to: heap.bytes(mu, levelBytes) }] : []),
  ];
  const bits = heap.integers(sign, (2 * bitBytes) / 4);
  for (let tile = 0; tile < tiles; tile++) {
    for (const { from, to } of copies) copyBytes(from, tile * to.length, to);
    clearPadding(bits, columns);
    const target = pointer + tile * tileBytes;
    kernels.packTile(sign, bitmap, alpha, mu, columns, groupSize, scratch, target, rowSums + tile * 64);
  }
  heap.bytes(sign, scratch + PACK_SCRATCH - sign).fill(0);
  return { kind: 'w11', rows, columns, tiles, groups, unitsPerGroup, lastUnits, pointer, rowSums };
}
