// Outlier columns: which of an input's columns are taken out before it is quantized, and their weights in 8 bits.
import { type Backend, splitTensor } from '@duobit/core';
import { decodeTensor, type Encoding, type TensorData } from '@duobit/format';
import type { CalibrationOptions } from '../calibration/windows.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { OutlierColumns } from '../checkpoint/parted-checkpoint.ts';
import { createIntegerMethod } from '../methods/integer-method.ts';
import type { LayerResult } from '../methods/layer-method.ts';
import { calibrate } from './calibration.ts';

/** Windows that are enough to tell which columns are large. */
const WINDOWS = 16;

/**
 * The columns of each input with the largest sums of squares on the unquantized model: what widens the range of a row's codes
 * when it is rotated, and mostly when it is not.
 *
 * @param count columns of each input; inputs of fewer than twice as many have none taken out
 */
export async function chooseOutliers(
  checkpoint: Checkpoint,
  backend: Backend,
  calibration: CalibrationOptions,
  count: number,
  signal?: AbortSignal,
): Promise<OutlierColumns> {
  const maxWindows = Math.min(WINDOWS, calibration.maxWindows ?? WINDOWS);
  const { squares } = await calibrate(checkpoint, backend, { ...calibration, maxWindows }, { signal });
  const columns = new Map<string, readonly number[]>();
  for (const [name, sums] of squares) {
    if (sums.length < 2 * count) continue;
    const order = [...sums.keys()].sort((a, b) => sums[b]! - sums[a]! || a - b);
    columns.set(
      name,
      order.slice(0, count).sort((a, b) => a - b),
    );
  }
  return (weight) => columns.get(weight) ?? [];
}

/**
 * A W(1+1) layer together with its outlier columns, as w11-outlier.
 *
 * @param values of the outlier columns [N, C]
 * @param rotated whether the layer's bit planes are of a rotated input; else their bits in outlier columns are cleared, as the
 * format wants it
 */
export function attachOutliers(
  result: LayerResult,
  shape: readonly [rows: number, columns: number],
  columns: readonly number[],
  values: Float32Array<ArrayBuffer>,
  { name, rotated }: { readonly name: string; readonly rotated: boolean },
): LayerResult {
  const { encoding, planes } = result.packed!;
  if (encoding.kind !== 'w11') throw new TypeError(`${encoding.kind} has no outlier columns`);
  const [rows] = shape;
  if (!rotated) for (const plane of [planes.sign!, planes.bitmap!]) clearColumns(plane, rows, columns);
  const block = { name, firstRow: 0, rows, columns: columns.length, values };
  const importance = new Float64Array(columns.length).fill(1);
  const integers = createIntegerMethod({ kind: 'int8', groupSize: 256 }).encode({ ...block, importance });
  const index = new DataView(new ArrayBuffer(4 * columns.length));
  for (const [i, column] of columns.entries()) index.setUint32(4 * i, column, true);
  const packed = {
    encoding: { ...encoding, kind: 'w11-outlier', outlierColumns: columns.length } as const,
    planes: {
      ...planes,
      'outlier-index': new Uint8Array(index.buffer),
      'outlier-codes': integers.planes.codes!,
      'outlier-scale': integers.planes.scale!,
    },
  };
  return readResult(name, shape, packed.encoding, packed.planes);
}

/** The result that packed planes stand for. */
export function readResult(
  name: string,
  shape: readonly number[],
  encoding: Encoding,
  planes: TensorData['planes'],
): LayerResult {
  const data = { info: { name, shape, encoding, activation: null }, planes };
  const parts = splitTensor(data);
  const bytes = Object.values(planes).reduce((sum, plane) => sum + plane.length, 0);
  return {
    approximation: decodeTensor(parts?.bits ?? data),
    bytes,
    packed: { encoding, planes },
    ...(parts && { outliers: decodeTensor(parts.outliers) }),
  };
}

function clearColumns(plane: Uint8Array, rows: number, columns: readonly number[]): void {
  const stride = plane.length / rows;
  for (let row = 0; row < rows; row++)
    for (const column of columns) plane[row * stride + (column >> 3)]! &= ~(1 << (column & 7));
}
