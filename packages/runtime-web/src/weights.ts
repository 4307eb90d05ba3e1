// Brings weights into GPU buffers in the layouts that kernels read: W(1+1) as bits in chunks of 128 columns with the levels of
// groups beside them, all else as rows of 16-byte words. Planes go up as they are where their rows fit.
/// <reference types="@webgpu/types" />
import {
  DuobitError,
  decodeTensor,
  encodedPlaneLengths,
  groupCount,
  int4RowStride,
  int8RowStride,
  type PlaneRole,
  type TensorData,
} from '@duobit/format';
import type { BufferPool } from './buffers.ts';
import { CHUNK_COLUMNS } from './slots.ts';
import type { Uploader } from './upload.ts';

export type DenseEncoding = 'f32' | 'f16' | 'bf16' | 'int8' | 'int4';

/** A vector, such as a norm's weight, as f32. */
export interface VectorWeight {
  readonly kind: 'vector';
  readonly buffer: GPUBuffer;
}

export interface DenseWeight {
  readonly kind: 'dense';
  readonly encoding: DenseEncoding;
  readonly rows: number;
  readonly columns: number;
  /** Words of 16 bytes in a row. */
  readonly chunks: number;
  readonly groups: number;
  readonly groupSize: number;
  readonly weights: GPUBuffer;
  /** f16, of int8 and int4. */
  readonly scales: GPUBuffer | null;
}

/** One W(1+1) matrix, or several that read the same input, one below the other. */
export interface W11Weight {
  readonly kind: 'w11';
  readonly rows: number;
  readonly columns: number;
  readonly chunks: number;
  readonly groups: number;
  /** Words of 32 columns in a group. */
  readonly groupWords: number;
  readonly offsets: boolean;
  /** Sign bits, then bitmap bits. */
  readonly bits: GPUBuffer;
  readonly levels: GPUBuffer;
  /** Sums of decoded rows; empty until a kernel fills it. */
  readonly rowSums: GPUBuffer;
}

const WORD_COLUMNS: Readonly<Record<DenseEncoding, number>> = { f32: 4, f16: 8, bf16: 8, int8: 16, int4: 32 };

export function isDenseEncoding(kind: string): kind is DenseEncoding {
  return Object.hasOwn(WORD_COLUMNS, kind);
}

/** @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH` */
export function checkPlanes(data: TensorData): void {
  const lengths = encodedPlaneLengths(data.info.encoding, data.info.shape);
  const facts = { where: `tensor ${data.info.name}`, remedy: 'Get the file again, or make it again' };
  for (const [role, expected] of Object.entries(lengths) as [PlaneRole, number][]) {
    const actual = data.planes[role]?.byteLength;
    if (actual === undefined) throw new DuobitError('PLANE_MISSING', `plane "${role}" is missing`, facts);
    if (actual !== expected)
      throw new DuobitError('PLANE_LENGTH', `plane "${role}" has ${actual} bytes, not ${expected}`, facts);
  }
}

export async function loadVector(
  pool: BufferPool,
  uploader: Uploader,
  data: TensorData,
): Promise<VectorWeight> {
  const values = decodeTensor(data);
  const buffer = pool.storage(values.byteLength, data.info.name);
  await uploader.write(buffer, 0, new Uint8Array(Float32Array.from(values).buffer));
  return { kind: 'vector', buffer };
}

export async function loadDense(
  pool: BufferPool,
  uploader: Uploader,
  data: TensorData,
  encoding: DenseEncoding,
): Promise<DenseWeight> {
  const { name, shape } = data.info;
  const [rows, columns] = [shape[0]!, shape[1]!];
  const isInteger = encoding === 'int8' || encoding === 'int4';
  const groupSize = 'groupSize' in data.info.encoding ? data.info.encoding.groupSize : columns;
  const groups = groupCount(columns, groupSize);
  const chunks = Math.ceil(columns / WORD_COLUMNS[encoding]);
  const plane = data.planes[isInteger ? 'codes' : 'dense']!;
  const used = encoding === 'int4' ? Math.ceil(columns / 2) : (columns * 16) / WORD_COLUMNS[encoding];
  const stride =
    encoding === 'int8' ? int8RowStride(columns) : encoding === 'int4' ? int4RowStride(columns) : used;
  const weights = pool.storage(rows * chunks * 16, name);
  await uploader.write(weights, 0, padRows(plane, { rows, stride, used, target: chunks * 16 }));
  let scales: GPUBuffer | null = null;
  if (isInteger) {
    const bytes = fillWords(data.planes.scale!);
    scales = pool.storage(bytes.byteLength, `${name}, scales`);
    await uploader.write(scales, 0, bytes);
  }
  return { kind: 'dense', encoding, rows, columns, chunks, groups, groupSize, weights, scales };
}

/** Whether matrices of one input can be run as one. */
export function canJoin(parts: readonly TensorData[]): boolean {
  return parts.every(({ info: { encoding, shape } }) => {
    const first = parts[0]!.info;
    return (
      encoding.kind === 'w11' &&
      first.encoding.kind === 'w11' &&
      shape.length === 2 &&
      shape[1] === first.shape[1] &&
      encoding.groupSize === first.encoding.groupSize &&
      encoding.offsets === first.encoding.offsets
    );
  });
}

/** Parts are W(1+1) matrices that `canJoin`. */
export async function loadW11(
  pool: BufferPool,
  uploader: Uploader,
  parts: readonly TensorData[],
): Promise<W11Weight> {
  const { encoding, shape, name } = parts[0]!.info;
  const columns = shape[1]!;
  const rows = parts.reduce((sum, { info }) => sum + info.shape[0]!, 0);
  const groupSize = 'groupSize' in encoding ? encoding.groupSize : 0;
  const offsets = encoding.kind === 'w11' && encoding.offsets;
  const groups = groupCount(columns, groupSize);
  const chunks = Math.ceil(columns / CHUNK_COLUMNS);
  const stride = 4 * Math.ceil(columns / 32);
  const target = chunks * 16;
  const bits = pool.storage(2 * rows * target, name);
  const levelBytes = offsets ? 8 : 4;
  const levels = pool.storage(rows * groups * levelBytes, `${name}, levels`);
  const rowSums = pool.storage(rows * 4, `${name}, row sums`);
  let first = 0;
  for (const { info, planes } of parts) {
    const own = info.shape[0]!;
    const shapeOf = { rows: own, stride, used: stride, target };
    await uploader.write(bits, first * target, padRows(planes.sign!, shapeOf));
    await uploader.write(bits, (rows + first) * target, padRows(planes.bitmap!, shapeOf));
    const words = offsets ? interleave(planes.alpha!, planes.mu!) : fillWords(planes.alpha!);
    await uploader.write(levels, first * groups * levelBytes, words);
    first += own;
  }
  return {
    kind: 'w11',
    rows,
    columns,
    chunks,
    groups,
    groupWords: groupSize / 32,
    offsets,
    bits,
    levels,
    rowSums,
  };
}

/** Rows of `target` bytes, the first `used` of each from a plane with rows of `stride`, the others 0; no copy where it fits. */
function padRows(
  plane: Uint8Array<ArrayBuffer>,
  { rows, stride, used, target }: { rows: number; stride: number; used: number; target: number },
): Uint8Array<ArrayBuffer> {
  if (stride === target && plane.byteLength % 4 === 0) return plane;
  const out = new Uint8Array(rows * target);
  for (let row = 0; row < rows; row++)
    out.set(plane.subarray(row * stride, row * stride + Math.min(used, stride)), row * target);
  return out;
}

/** A plane with its length filled up to whole words. */
function fillWords(plane: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (plane.byteLength % 4 === 0) return plane;
  const out = new Uint8Array(plane.byteLength + 4 - (plane.byteLength % 4));
  out.set(plane);
  return out;
}

/** Words of two planes in turn. */
function interleave(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const [first, second] = [readWords(a), readWords(b)];
  const out = new Uint32Array(2 * first.length);
  for (let i = 0; i < first.length; i++) {
    out[2 * i] = first[i]!;
    out[2 * i + 1] = second[i]!;
  }
  return new Uint8Array(out.buffer);
}

function readWords(plane: Uint8Array<ArrayBuffer>): Uint32Array {
  const aligned = plane.byteOffset % 4 === 0 ? plane : plane.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}
