// The scalar reference decoder: planes -> values, written to be read, not to be fast. Everything else is
// measured against it. A value is computed exactly and rounded once, to single precision.
import {
  bitRowStride,
  elementCount,
  encodedPlaneLengths,
  groupCount,
  int4RowStride,
  int8RowStride,
} from './encodings.ts';
import { DuobitError } from './errors.ts';
import { bf16ToF32, f16ToF32 } from './float16.ts';
import type { PlaneRole, TensorData } from './manifest.ts';
import { REMEDY_PRODUCER } from './problems.ts';
import { undoInputRotation } from './rotation.ts';

/** @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH` */
function requirePlanes(data: TensorData): (role: PlaneRole) => DataView {
  const lengths = encodedPlaneLengths(data.info.encoding, data.info.shape);
  const views = new Map<string, DataView>();
  for (const [role, expected] of Object.entries(lengths) as [PlaneRole, number][]) {
    const plane = data.planes[role];
    const where = `tensor ${data.info.name}, plane ${role}`;
    if (!plane)
      throw new DuobitError('PLANE_MISSING', `the ${data.info.encoding.kind} tensor lacks a plane`, {
        where,
      });
    if (plane.length !== expected) {
      throw new DuobitError('PLANE_LENGTH', `the plane has ${plane.length} bytes, expected ${expected}`, {
        where,
      });
    }
    views.set(role, new DataView(plane.buffer, plane.byteOffset, plane.length));
  }
  return (role) => views.get(role)!;
}

/**
 * Decodes a tensor to row-major single-precision values: those that are stored, whether or not for a rotated input. Outlier
 * columns are columns of the unrotated input, so beside a rotation they have no place here: the values are those of the
 * bit planes, in every column.
 * @throws DuobitError `ENCODING_UNKNOWN`, `ENCODING_PARAMETERS`, `TENSOR_SHAPE`, `TENSOR_GROUP_SIZE`,
 *   `PLANE_MISSING`, `PLANE_LENGTH`, `OUTLIER_INDEX`, `SALIENT_OFFSETS`
 */
export function decodeTensor(data: TensorData): Float32Array<ArrayBuffer> {
  const { encoding, shape } = data.info;
  const plane = requirePlanes(data);
  const values = new Float32Array(elementCount(shape));
  const rows = shape[0] ?? 1;
  const columns = shape[1] ?? 1;
  if (encoding.kind === 'w11' || encoding.kind === 'w11-outlier') {
    decodeW11(values, rows, columns, encoding.groupSize, plane, encoding.offsets);
    if (encoding.kind === 'w11-outlier' && data.info.inputRotation === undefined)
      decodeOutliers(values, rows, columns, encoding.outlierColumns, plane);
  } else if (encoding.kind === 'partial-binary') {
    decodePartialBinary(values, rows, columns, encoding, plane);
  } else if (encoding.kind === 'int8') {
    const codes = plane('codes');
    const stride = int8RowStride(columns);
    const readCode = (row: number, k: number) => codes.getInt8(row * stride + k);
    decodeInteger(values, rows, columns, encoding.groupSize, plane('scale'), readCode);
  } else if (encoding.kind === 'int4') {
    const codes = plane('codes');
    const stride = int4RowStride(columns);
    const readCode = (row: number, k: number) => {
      const nibble = (codes.getUint8(row * stride + Math.floor(k / 2)) >> (4 * (k & 1))) & 15;
      return nibble < 8 ? nibble : nibble - 16;
    };
    decodeInteger(values, rows, columns, encoding.groupSize, plane('scale'), readCode);
  } else if (encoding.kind === 'f32') {
    const dense = plane('dense');
    for (let i = 0; i < values.length; i++) values[i] = dense.getFloat32(4 * i, true);
  } else {
    const dense = plane('dense');
    const decode = encoding.kind === 'f16' ? f16ToF32 : bf16ToF32;
    for (let i = 0; i < values.length; i++) values[i] = decode(dense.getUint16(2 * i, true));
  }
  return values;
}

/**
 * The weights that a linear layer has of its own: what is stored, unless that is for a rotated input, which is undone here
 * in double precision. For tools that show or export weights; runtimes multiply a rotated input with what is stored.
 * @throws DuobitError as `decodeTensor`
 */
export function decodeLayerWeights(data: TensorData): Float32Array<ArrayBuffer> {
  const values = decodeTensor(data);
  const { inputRotation, encoding, shape } = data.info;
  if (inputRotation === undefined) return values;
  const [rows, columns] = [shape[0]!, shape[1]!];
  for (let start = 0; start < values.length; start += columns) {
    const row = Float64Array.from(values.subarray(start, start + columns));
    undoInputRotation(row);
    values.set(row, start);
  }
  if (encoding.kind === 'w11-outlier')
    decodeOutliers(values, rows, columns, encoding.outlierColumns, requirePlanes(data));
  return values;
}

/** w = scale[n, g] * code[n, k], g = floor(k / G). */
function decodeInteger(
  values: Float32Array,
  rows: number,
  columns: number,
  groupSize: number,
  scale: DataView,
  code: (row: number, column: number) => number,
): void {
  const groups = groupCount(columns, groupSize);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) {
      const group = row * groups + Math.floor(k / groupSize);
      values[row * columns + k] = f16ToF32(scale.getUint16(2 * group, true)) * code(row, k);
    }
  }
}

/** w = mu[n, g, m] + alpha[n, g, m] * (2 s - 1), with sign bit s and bitmap bit m of column k. */
function decodeW11(
  values: Float32Array,
  rows: number,
  columns: number,
  groupSize: number,
  plane: (role: PlaneRole) => DataView,
  offsets: boolean,
): void {
  const groups = groupCount(columns, groupSize);
  const stride = bitRowStride(columns);
  const [sign, bitmap, alpha, mu] = [
    plane('sign'),
    plane('bitmap'),
    plane('alpha'),
    offsets ? plane('mu') : null,
  ];
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) {
      const byte = row * stride + Math.floor(k / 8);
      const s = (sign.getUint8(byte) >> (k & 7)) & 1;
      const m = (bitmap.getUint8(byte) >> (k & 7)) & 1;
      const level = 2 * (2 * (row * groups + Math.floor(k / groupSize)) + m);
      const middle = mu === null ? 0 : f16ToF32(mu.getUint16(level, true));
      values[row * columns + k] = middle + f16ToF32(alpha.getUint16(level, true)) * (2 * s - 1);
    }
  }
}

/** In outlier column c of row n: w = scale[n] * code[n, c]; replaces what is there. */
function decodeOutliers(
  values: Float32Array,
  rows: number,
  columns: number,
  count: number,
  plane: (role: PlaneRole) => DataView,
): void {
  const [index, codes, scale] = [plane('outlier-index'), plane('outlier-codes'), plane('outlier-scale')];
  const stride = int8RowStride(count);
  for (let c = 0; c < count; c++) {
    const column = index.getUint32(4 * c, true);
    if (column >= columns) {
      const message = `outlier ${c} is in column ${column} of ${columns}`;
      throw new DuobitError('OUTLIER_INDEX', message, { remedy: REMEDY_PRODUCER });
    }
    for (let row = 0; row < rows; row++) {
      values[row * columns + column] =
        f16ToF32(scale.getUint16(2 * row, true)) * codes.getInt8(row * stride + c);
    }
  }
}

/**
 * Salient weights: w = minimum[n] + scale[n] * code, the codes being those of the row's set mask bits in order.
 * Others: w = mu[n, g] + alpha[n, g] * (2 s - 1).
 */
function decodePartialBinary(
  values: Float32Array,
  rows: number,
  columns: number,
  { groupSize, salientCount }: { readonly groupSize: number; readonly salientCount: number },
  plane: (role: PlaneRole) => DataView,
): void {
  const groups = groupCount(columns, groupSize);
  const stride = bitRowStride(columns);
  const [sign, alpha, mu] = [plane('sign'), plane('alpha'), plane('mu')];
  const [mask, codes, scale] = [plane('salient-mask'), plane('salient-codes'), plane('salient-scale')];
  const offsets = plane('salient-offsets');
  let next = 0;
  for (let row = 0; row < rows; row++) {
    requireSalientOffset(offsets, row, next);
    for (let k = 0; k < columns; k++) {
      const byte = row * stride + Math.floor(k / 8);
      if ((mask.getUint8(byte) >> (k & 7)) & 1) {
        if (next === salientCount) throwSalient(`row ${row} has a salient weight beyond all ${salientCount}`);
        const minimum = f16ToF32(scale.getUint16(4 * row + 2, true));
        values[row * columns + k] = minimum + f16ToF32(scale.getUint16(4 * row, true)) * codes.getUint8(next);
        next += 1;
      } else {
        const level = 2 * (row * groups + Math.floor(k / groupSize));
        const s = (sign.getUint8(byte) >> (k & 7)) & 1;
        values[row * columns + k] =
          f16ToF32(mu.getUint16(level, true)) + f16ToF32(alpha.getUint16(level, true)) * (2 * s - 1);
      }
    }
  }
  requireSalientOffset(offsets, rows, salientCount);
  if (next !== salientCount) throwSalient(`the mask has ${next} salient weights, not ${salientCount}`);
}

function requireSalientOffset(offsets: DataView, row: number, expected: number): void {
  const found = offsets.getUint32(4 * row, true);
  if (found !== expected) throwSalient(`row ${row} begins at salient weight ${found}, not ${expected}`);
}

function throwSalient(message: string): never {
  throw new DuobitError('SALIENT_OFFSETS', message, { remedy: REMEDY_PRODUCER });
}
