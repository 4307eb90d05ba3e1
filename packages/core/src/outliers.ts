// Outlier columns of weights (docs/format.md, "Outlier columns"): a w11-outlier tensor is run as two ordinary ones, its bit
// planes as W(1+1) and its outlier columns as int8, so that backends need neither a new kind of weight nor a product for it.
import { DuobitError, GROUP_SIZES, type ModelSource, type TensorData } from '@duobit/format';
import type { WeightReader } from './backend.ts';

/** Outlier columns have one scale a row, so they are to be one group of int8. */
export const MOST_OUTLIER_COLUMNS = Math.max(...GROUP_SIZES);

const SUFFIX = ':outliers';

/** The int8 tensor [N, C] with the outlier columns of a w11-outlier weight, as plans and weight readers call it. */
export function outliersOf(weight: string): string {
  return weight + SUFFIX;
}

/** The tensor of the model that a weight of a plan is, or is part of. */
export function tensorOf(weight: string): string {
  return weight.endsWith(SUFFIX) ? weight.slice(0, -SUFFIX.length) : weight;
}

/**
 * What `PlanOptions.outliers` asks for: the outlier columns of a model's w11-outlier tensors, read now.
 * @throws DuobitError `OUTLIER_INDEX`; what the source throws
 */
export async function readOutlierColumns(
  source: ModelSource,
): Promise<(weight: string) => readonly number[]> {
  const columns = new Map<string, readonly number[]>();
  for (const name of source.tensorNames) {
    const { encoding, shape } = source.tensorInfo(name);
    if (encoding.kind !== 'w11-outlier') continue;
    const plane =
      (await source.readPlane?.(name, 'outlier-index')) ??
      (await source.readTensor(name)).planes['outlier-index'];
    const found = readIndex(plane ?? new Uint8Array(0));
    const ascend = found.every((column, i) => column < shape[1]! && (i === 0 || column > found[i - 1]!));
    if (found.length !== encoding.outlierColumns || !ascend)
      throw new DuobitError('OUTLIER_INDEX', 'outlier columns do not ascend, or do not exist', {
        source: source.name,
        where: `tensor ${name}, plane outlier-index`,
        remedy: 'Validate the model file',
      });
    columns.set(name, found);
  }
  return (weight) => columns.get(weight) ?? [];
}

function readIndex(plane: Uint8Array): number[] {
  const view = new DataView(plane.buffer, plane.byteOffset, plane.byteLength);
  return Array.from({ length: plane.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true));
}

/** A reader that gives w11-outlier tensors in their two parts; all others as they are. */
export function splitOutliers(read: WeightReader): WeightReader {
  /** Outlier columns of tensors whose bit planes have been given, until they are asked for. */
  const held = new Map<string, TensorData>();
  return async (name, allocate) => {
    const kept = held.get(name);
    held.delete(name);
    if (kept) return kept;
    const data = await read(tensorOf(name), allocate);
    const parts = splitTensor(data);
    if (!parts) return data;
    if (name !== data.info.name) return parts.outliers;
    held.set(parts.outliers.info.name, allocate ? copyPlanes(parts.outliers) : parts.outliers);
    return parts.bits;
  };
}

/** Into memory of their own: they are asked for when what they lie in has been used again. */
function copyPlanes({ info, planes }: TensorData): TensorData {
  return {
    info,
    planes: Object.fromEntries(Object.entries(planes).map(([role, bytes]) => [role, bytes.slice()])),
  };
}

/** Planes are shared, not copied; those of another encoding than w11-outlier are not parted. */
export function splitTensor({ info, planes }: TensorData): { bits: TensorData; outliers: TensorData } | null {
  const { encoding, name, shape } = info;
  if (encoding.kind !== 'w11-outlier') return null;
  const { groupSize, offsets, outlierColumns } = encoding;
  const { 'outlier-index': _, 'outlier-codes': codes, 'outlier-scale': scale, ...bits } = planes;
  return {
    bits: { info: { ...info, encoding: { kind: 'w11', groupSize, offsets } }, planes: bits },
    outliers: {
      info: {
        name: outliersOf(name),
        shape: [shape[0]!, outlierColumns],
        encoding: { kind: 'int8', groupSize: MOST_OUTLIER_COLUMNS },
        activation: null,
      },
      planes: { ...(codes && { codes }), ...(scale && { scale }) },
    },
  };
}
