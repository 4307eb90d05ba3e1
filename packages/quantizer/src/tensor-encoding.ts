// One tensor from checkpoint to planes: read in row blocks, encoded by a method, decoded again and compared.
import {
  DuobitError,
  decodeTensor,
  encodedPlaneLengths,
  type PlaneRole,
  type TensorData,
} from '@duobit/format';
import { pause } from './abort.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import type { EncodedRows, RowBlock, TensorMethod } from './methods/tensor-method.ts';

/** Weights read and encoded at a time; bounds memory and the time between two looks at the abort signal. */
const BLOCK_WEIGHTS = 2 ** 20;

/** Sums over a tensor's weights, from which the relative errors of a report are made. */
export interface ErrorSums {
  /** sum h (w - w^)^2 and sum h w^2 */
  weightedError: number;
  weightedSquares: number;
  /** The same with h = 1. */
  error: number;
  squares: number;
}

export interface EncodedTensor {
  readonly planes: TensorData['planes'];
  readonly bytes: number;
  readonly sums: ErrorSums;
}

/**
 * Encodes a whole tensor. Rows must be independent for the method. At most one block of rows in full precision and the
 * packed tensor are in memory.
 *
 * @param onRows Told after each block how many weights it had.
 * @throws DuobitError `QUANTIZE_NOT_FINITE`, `QUANTIZE_OUT_OF_RANGE`, `QUANTIZE_VERIFY`, `ABORTED`
 */
export async function encodeTensor(
  checkpoint: Pick<Checkpoint, 'name' | 'readRows'>,
  tensor: { readonly name: string; readonly shape: readonly number[] },
  method: TensorMethod,
  onRows: (weights: number) => void,
  signal?: AbortSignal,
): Promise<EncodedTensor> {
  const { name, shape } = tensor;
  const columns = shape.at(-1)!;
  const rows = shape.length === 1 ? 1 : shape[0]!;
  const planes = new Map<PlaneRole, Uint8Array<ArrayBuffer>>();
  const filled = new Map<PlaneRole, number>();
  for (const [role, length] of planeEntries(encodedPlaneLengths(method.encoding, shape))) {
    planes.set(role, new Uint8Array(length));
    filled.set(role, 0);
  }
  const h = new Float64Array(columns).fill(1);
  const sums: ErrorSums = { weightedError: 0, weightedSquares: 0, error: 0, squares: 0 };
  const step = Math.max(1, Math.floor(BLOCK_WEIGHTS / columns));
  for (let firstRow = 0; firstRow < rows; firstRow += step) {
    await pause(signal);
    const count = Math.min(step, rows - firstRow);
    const values = await checkpoint.readRows(name, firstRow, firstRow + count);
    const block: RowBlock = { name, firstRow, rows: count, columns, values, importance: h };
    checkFinite(block, checkpoint.name);
    const encoded = method.encode(block);
    verifyRows(block, method, encoded, checkpoint.name, shape.length === 1);
    addErrors(sums, block, encoded.approximation);
    for (const [role, bytes] of planeEntries(encoded.planes)) {
      const offset = filled.get(role)!;
      planes.get(role)!.set(bytes, offset);
      filled.set(role, offset + bytes.length);
    }
    onRows(values.length);
  }
  let bytes = 0;
  for (const [role, plane] of planes) {
    if (filled.get(role) !== plane.length) {
      throw verifyError(
        checkpoint.name,
        name,
        `plane ${role} has ${filled.get(role)} bytes, not ${plane.length}`,
      );
    }
    bytes += plane.length;
  }
  return { planes: Object.fromEntries(planes), bytes, sums };
}

function planeEntries<T>(planes: Readonly<Partial<Record<PlaneRole, T>>>): [PlaneRole, T][] {
  return Object.entries(planes) as [PlaneRole, T][];
}

/** The reader checks what it decodes; this catches what a reader does not, before anything is fitted to it. */
function checkFinite(block: RowBlock, source: string): void {
  const { name, firstRow, columns, values } = block;
  for (let i = 0; i < values.length; i++) {
    // NaN - NaN and Infinity - Infinity are NaN: one test for both.
    if (values[i]! - values[i]! !== 0) {
      throw new DuobitError(
        'QUANTIZE_NOT_FINITE',
        `the weight at row ${firstRow + Math.floor(i / columns)}, column ${i % columns} is ${values[i]}`,
        { source, where: name, remedy: 'Get the checkpoint again; it is damaged or training diverged' },
      );
    }
  }
}

/** Decodes the packed rows with the format's own decoder and demands the method's values, bit for bit. */
function verifyRows(
  block: RowBlock,
  method: TensorMethod,
  encoded: EncodedRows,
  source: string,
  isVector: boolean,
): void {
  const { name, firstRow, rows, columns } = block;
  const shape = isVector ? [columns] : [rows, columns];
  const decoded = decodeTensor({
    info: { name, shape, encoding: method.encoding, activation: null },
    planes: encoded.planes,
  });
  const expected = encoded.approximation;
  for (let i = 0; i < expected.length; i++) {
    if (decoded[i] !== expected[i]) {
      throw verifyError(
        source,
        name,
        `row ${firstRow + Math.floor(i / columns)}, column ${i % columns} decodes to ${decoded[i]}, not ${expected[i]}`,
      );
    }
  }
  if (decoded.length !== expected.length) {
    throw verifyError(source, name, `${decoded.length} values decoded, not ${expected.length}`);
  }
}

export function verifyError(source: string, name: string, fact: string): DuobitError {
  return new DuobitError('QUANTIZE_VERIFY', `packed weights differ from the fit: ${fact}`, {
    source,
    where: name,
    remedy: 'Report this as a bug of Duobit, with the name of the checkpoint',
  });
}

function addErrors(sums: ErrorSums, block: RowBlock, approximation: Float32Array): void {
  const { rows, columns, values, importance } = block;
  for (let row = 0; row < rows; row++) {
    let weightedError = 0;
    let weightedSquares = 0;
    let error = 0;
    let squares = 0;
    for (let column = 0; column < columns; column++) {
      const value = values[row * columns + column]!;
      const h = importance[column]!;
      const difference = value - approximation[row * columns + column]!;
      error += difference * difference;
      squares += value * value;
      weightedError += h * difference * difference;
      weightedSquares += h * value * value;
    }
    sums.weightedError += weightedError;
    sums.weightedSquares += weightedSquares;
    sums.error += error;
    sums.squares += squares;
  }
}
