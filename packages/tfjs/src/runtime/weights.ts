// Weights as the backend keeps them on the device: packed as in the file, or nearly so, and expanded a few rows at a time.
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
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { cutGroups, joinGroups } from '../operations/composed-levels.ts';
import { PackedCodes } from './packed.ts';

type Tf = typeof TensorFlow;

/** A norm's weights [width]. */
export interface VectorWeight {
  readonly kind: 'vector';
  readonly values: Tensor1D;
}

/** A matrix [rows, columns] that is multiplied as f32. */
export interface DenseWeight {
  readonly kind: 'dense';
  readonly rows: number;
  readonly columns: number;
  /** Values [count, columns] of rows from `first` on. */
  rowsFrom(first: number, count: number): Tensor2D;
  /** Values [indices, columns]. @param indices int32 */
  gather(indices: Tensor1D): Tensor2D;
}

/** c0 to c3 of docs/numerics.md, "W(1+1) times codes": w^ = c0 + c1 s + c2 m + c3 s m. */
export type Coefficients<T> = readonly [T, T, T, T];

export interface W11Weight {
  readonly kind: 'w11';
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly groups: number;
  /** Sign bit + 2 * bitmap bit. */
  readonly index: PackedCodes;
  /** [groups, rows] each */
  readonly coefficients: Coefficients<Tensor2D>;
  /** [rows]: the sum of each row's weights. */
  readonly sums: Tensor1D;
}

export type DeviceWeight = VectorWeight | DenseWeight | W11Weight;

export interface HeldWeight {
  readonly weight: DeviceWeight;
  /** On the device. */
  readonly bytes: number;
  dispose(): void;
}

/** @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH` when a plane is not as its encoding and shape need it. */
export function holdWeight(tf: Tf, data: TensorData): HeldWeight {
  const { shape, encoding } = data.info;
  requirePlanes(data);
  const size = { rows: shape[0]!, columns: shape[1] ?? 1 };
  if (shape.length !== 2) {
    const values = tf.tensor1d(decodeTensor(data));
    return { weight: { kind: 'vector', values }, bytes: 4 * values.size, dispose: () => values.dispose() };
  }
  if (encoding.kind === 'w11') return holdW11(tf, data, size, encoding);
  if (encoding.kind === 'int8' || encoding.kind === 'int4')
    return holdInteger(tf, data, size, encoding.groupSize, encoding.kind === 'int8' ? 8 : 4);
  const values = tf.tensor2d(decodeTensor(data), [size.rows, size.columns]);
  return {
    weight: {
      kind: 'dense',
      ...size,
      rowsFrom: (first, count) => tf.slice(values, [first, 0], [count, size.columns]),
      gather: (indices) => tf.gather(values, indices),
    },
    bytes: 4 * values.size,
    dispose: () => values.dispose(),
  };
}

interface Size {
  readonly rows: number;
  readonly columns: number;
}

function holdInteger(tf: Tf, { planes }: TensorData, size: Size, groupSize: number, bits: 4 | 8): HeldWeight {
  const { rows, columns } = size;
  const groups = groupCount(columns, groupSize);
  const plane = planes.codes!;
  const stride = plane.length / rows;
  // Signed codes as they are in the file, and 2^(bits - 1) more, so that none is negative.
  const codes = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < columns; k++) {
      const byte = plane[row * stride + (bits === 8 ? k : k >> 1)]!;
      codes[row * columns + k] = bits === 8 ? byte ^ 128 : ((byte >> (4 * (k & 1))) & 15) ^ 8;
    }
  const packed = new PackedCodes(tf, codes, size, bits);
  const scales = tf.tensor2d(decodeF16(planes.scale!), [rows, groups]);
  /** Exact: a scale has 11 significant bits, a code 7. */
  const scale = (codes: Tensor2D, scales: Tensor2D): Tensor2D =>
    tf.tidy(() => {
      const grouped = cutGroups(tf, tf.sub(codes, 2 ** (bits - 1)), groupSize);
      return joinGroups(tf, tf.mul(grouped, tf.expandDims(scales, 2)) as Tensor3D, columns);
    });
  return {
    weight: {
      kind: 'dense',
      ...size,
      rowsFrom: (first, count) =>
        scale(packed.rowsFrom(first, count), tf.slice(scales, [first, 0], [count, groups])),
      gather: (indices) => scale(packed.gather(indices), tf.gather(scales, indices)),
    },
    bytes: packed.bytes + 4 * scales.size,
    dispose() {
      packed.dispose();
      scales.dispose();
    },
  };
}

function holdW11(
  tf: Tf,
  { planes }: TensorData,
  size: Size,
  { groupSize, offsets }: { readonly groupSize: number; readonly offsets: boolean },
): HeldWeight {
  const { rows, columns } = size;
  const groups = groupCount(columns, groupSize);
  const alpha = decodeF16(planes.alpha!);
  const mu = offsets ? decodeF16(planes.mu!) : new Float32Array(alpha.length);
  const values: Coefficients<Float32Array> = [0, 1, 2, 3].map(
    () => new Float32Array(groups * rows),
  ) as unknown as Coefficients<Float32Array>;
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const at = 2 * (row * groups + group);
      const [a0, a1, m0, m1] = [alpha[at]!, alpha[at + 1]!, mu[at]!, mu[at + 1]!];
      const exact = [m0 - a0, 2 * a0, m1 - a1 - (m0 - a0), 2 * (a1 - a0)];
      for (let i = 0; i < 4; i++) values[i]![group * rows + row] = exact[i]!;
    }
  const signs = unpackBits(planes.sign!, rows, columns);
  const codes = unpackBits(planes.bitmap!, rows, columns).map((m, i) => 2 * m + signs[i]!);
  const sums = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let k = 0; k < columns; k++) {
      const code = codes[row * columns + k]!;
      const at = 2 * (row * groups + Math.floor(k / groupSize)) + (code >> 1);
      sum += mu[at]! + alpha[at]! * (2 * (code & 1) - 1);
    }
    sums[row] = sum;
  }
  const index = new PackedCodes(tf, codes, size, 2);
  const coefficients = values.map((each) =>
    tf.tensor2d(each, [groups, rows]),
  ) as unknown as Coefficients<Tensor2D>;
  const rowSums = tf.tensor1d(sums);
  return {
    weight: { kind: 'w11', ...size, groupSize, groups, index, coefficients, sums: rowSums },
    bytes: index.bytes + 16 * groups * rows + 4 * rows,
    dispose() {
      index.dispose();
      tf.dispose([...coefficients, rowSums]);
    },
  };
}

function requirePlanes({ info, planes }: TensorData): void {
  for (const [role, expected] of Object.entries(encodedPlaneLengths(info.encoding, info.shape))) {
    const plane = planes[role as PlaneRole];
    const facts = { where: `tensor ${info.name}, plane ${role}`, remedy: 'Validate the model file' };
    if (!plane)
      throw new DuobitError('PLANE_MISSING', `the ${info.encoding.kind} tensor lacks a plane`, facts);
    if (plane.length !== expected)
      throw new DuobitError(
        'PLANE_LENGTH',
        `the plane has ${plane.length} bytes, expected ${expected}`,
        facts,
      );
  }
}

function decodeF16(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => f16ToF32(view.getUint16(2 * i, true)));
}
