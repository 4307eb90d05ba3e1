// How the reference backend holds weights: dense tensors decoded to f32, W(1+1) tensors as one level index a weight and
// four levels a group in double precision. Written to be checked by eye, not to be small.
import {
  DuobitError,
  decodeTensor,
  encodedPlaneLengths,
  f16ToF32,
  groupCount,
  type PlaneRole,
  type TensorData,
  unpackBits,
} from '@duobit/format';

/** Row-major [rows, columns]; a vector has one row. */
export interface DenseWeight {
  readonly kind: 'dense';
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

export interface W11Weight {
  readonly kind: 'w11';
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly groups: number;
  /** [rows, columns]: sign bit + 2 * bitmap bit, the index of the weight's level. */
  readonly index: Uint8Array;
  /** [rows, groups, 4]: mu[m] + alpha[m] * (2 s - 1) at index s + 2 m; exact in double, as alpha and mu are f16. */
  readonly levels: Float64Array;
}

export type Weight = DenseWeight | W11Weight;

/** @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH` when a plane is not as its encoding and shape need it. */
export function unpackWeight(data: TensorData): Weight {
  const { shape, encoding } = data.info;
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape.length === 2 ? shape[0]! : 1;
  if (encoding.kind !== 'w11') return { kind: 'dense', rows, columns, values: decodeTensor(data) };

  const { groupSize, offsets } = encoding;
  const groups = groupCount(columns, groupSize);
  const plane = (role: PlaneRole): Uint8Array => requirePlane(data, role);
  const signs = unpackBits(plane('sign'), rows, columns);
  const index = unpackBits(plane('bitmap'), rows, columns).map((m, i) => 2 * m + signs[i]!);
  const alphas = decodeF16(plane('alpha'), rows * groups * 2);
  const mus = offsets ? decodeF16(plane('mu'), rows * groups * 2) : new Float64Array(rows * groups * 2);
  const levels = new Float64Array(rows * groups * 4);
  for (let i = 0; i < rows * groups; i++)
    for (let m = 0; m < 2; m++)
      for (let s = 0; s < 2; s++)
        levels[4 * i + 2 * m + s] = mus[2 * i + m]! + alphas[2 * i + m]! * (2 * s - 1);
  return { kind: 'w11', rows, columns, groupSize, groups, index, levels };
}

function requirePlane({ info, planes }: TensorData, role: PlaneRole): Uint8Array {
  const plane = planes[role];
  const facts = { where: `tensor ${info.name}, plane ${role}`, remedy: 'Validate the model file' };
  if (!plane) throw new DuobitError('PLANE_MISSING', `the ${info.encoding.kind} tensor lacks a plane`, facts);
  const expected = encodedPlaneLengths(info.encoding, info.shape)[role];
  if (plane.length !== expected)
    throw new DuobitError('PLANE_LENGTH', `the plane has ${plane.length} bytes, expected ${expected}`, facts);
  return plane;
}

function decodeF16(bytes: Uint8Array, count: number): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from({ length: count }, (_, i) => f16ToF32(view.getUint16(2 * i, true)));
}
