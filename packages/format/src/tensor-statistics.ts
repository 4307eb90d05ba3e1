// What a tensor's values and codes look like: moments, a histogram of what is stored, ranges of the scales.
import type { Container } from './container.ts';
import { decodeTensor } from './decode.ts';
import { int4RowStride, int8RowStride } from './encodings.ts';
import { f16ToF32 } from './float16.ts';
import type { PlaneRole, TensorData } from './manifest.ts';
import { readRowBlocks } from './row-blocks.ts';

/** A level, code or range of values, and how many values it has. */
export interface HistogramBar {
  readonly label: string;
  readonly count: number;
}

/** Statistics of a tensor's decoded values. */
export interface TensorStatistics {
  readonly count: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly mean: number;
  /** Of the whole population, not of a sample. */
  readonly standardDeviation: number;
  /** Values that are exactly 0. */
  readonly zeros: number;
  /** Counts add up to `count`. Of levels or codes; of values, in equal bins, for dense encodings. */
  readonly histogram: readonly HistogramBar[];
  /** Range of every plane of scales, entries of one kind together, such as `alpha[0]`. */
  readonly scales: readonly { readonly name: string; readonly minimum: number; readonly maximum: number }[];
}

const BINS = 16;

/** Planes of f16 scales: names of the entries that alternate in each. */
const SCALE_PLANES: Partial<Record<PlaneRole, readonly string[]>> = {
  scale: ['scale'],
  'outlier-scale': ['outlier-scale'],
  'salient-scale': ['salient-scale', 'salient-minimum'],
};
const LEVEL_NAMES = { alpha: ['alpha[0]', 'alpha[1]'], mu: ['mu[0]', 'mu[1]'] } as const;

/**
 * Reads a tensor in blocks and gives its statistics. Dense tensors are read twice.
 * @throws DuobitError `TENSOR_UNKNOWN`, `ENCODING_UNKNOWN`, `CHUNK_HASH`, or what the source throws
 */
export async function computeTensorStatistics(container: Container, name: string): Promise<TensorStatistics> {
  const moments = new Moments();
  const scales = new Map<string, { minimum: number; maximum: number }>();
  const codes = new Map<string, number>();
  for await (const block of readRowBlocks(container, name)) {
    for (const value of decodeTensor(block)) moments.add(value);
    addScales(block, scales);
    countCodes(block, codes);
  }
  const { encoding } = container.tensorInfo(name);
  const histogram =
    'groupSize' in encoding
      ? [...codes].map(([label, count]) => ({ label, count }))
      : await countValues(container, name, moments);
  return {
    count: moments.count,
    minimum: moments.minimum,
    maximum: moments.maximum,
    mean: moments.mean,
    standardDeviation: Math.sqrt(moments.squares / moments.count),
    zeros: moments.zeros,
    histogram,
    scales: [...scales].map(([entry, range]) => ({ name: entry, ...range })),
  };
}

/** Welford's running moments. */
class Moments {
  count = 0;
  minimum = Number.POSITIVE_INFINITY;
  maximum = Number.NEGATIVE_INFINITY;
  mean = 0;
  /** Sum of squared distances from the mean. */
  squares = 0;
  zeros = 0;

  add(value: number): void {
    this.count += 1;
    const distance = value - this.mean;
    this.mean += distance / this.count;
    this.squares += distance * (value - this.mean);
    if (value < this.minimum) this.minimum = value;
    if (value > this.maximum) this.maximum = value;
    if (value === 0) this.zeros += 1;
  }
}

function addScales(block: TensorData, scales: Map<string, { minimum: number; maximum: number }>): void {
  const paired = block.info.encoding.kind !== 'partial-binary';
  const planes = {
    ...SCALE_PLANES,
    alpha: paired ? LEVEL_NAMES.alpha : ['alpha'],
    mu: paired ? LEVEL_NAMES.mu : ['mu'],
  };
  for (const [role, names] of Object.entries(planes)) {
    const plane = block.planes[role as PlaneRole];
    if (!plane) continue;
    const view = new DataView(plane.buffer, plane.byteOffset, plane.length);
    for (let i = 0; 2 * i < plane.length; i++) {
      const name = names[i % names.length]!;
      const value = f16ToF32(view.getUint16(2 * i, true));
      const range = scales.get(name) ?? { minimum: value, maximum: value };
      range.minimum = Math.min(range.minimum, value);
      range.maximum = Math.max(range.maximum, value);
      scales.set(name, range);
    }
  }
}

/** Adds the codes of a block; every label is there from the first block on, in the order in which it is drawn. */
function countCodes(block: TensorData, codes: Map<string, number>): void {
  const { encoding, shape } = block.info;
  const add = (label: string, count: number): void => {
    codes.set(label, (codes.get(label) ?? 0) + count);
  };
  const rows = shape[0] ?? 1;
  const columns = shape[1] ?? 1;
  if (encoding.kind === 'int8' || encoding.kind === 'int4') {
    const { least, label, counts } =
      encoding.kind === 'int8' ? countInt8(block, rows, columns) : countInt4(block, rows, columns);
    for (const [i, count] of counts.entries()) add(label(least, i), count);
  } else if (encoding.kind === 'w11' || encoding.kind === 'w11-outlier') {
    const levels = countLevels(block);
    // Beside a rotation the outlier columns have bits, and no place among the values.
    const replaced = encoding.kind === 'w11-outlier' && block.info.inputRotation === undefined;
    const outliers = replaced ? rows * encoding.outlierColumns : 0;
    // Outlier columns and the bits behind the last column have both bits 0.
    const zeros = rows * columns - outliers - levels[1]! - levels[2]! - levels[3]!;
    const [low, high] = encoding.offsets
      ? ['mu[m] - alpha[m]', 'mu[m] + alpha[m]']
      : ['-alpha[m]', '+alpha[m]'];
    add(low!.replaceAll('[m]', '[0]'), zeros);
    add(high!.replaceAll('[m]', '[0]'), levels[1]!);
    add(low!.replaceAll('[m]', '[1]'), levels[2]!);
    add(high!.replaceAll('[m]', '[1]'), levels[3]!);
    if (outliers > 0) add('outlier columns', outliers);
  } else if (encoding.kind === 'partial-binary') {
    const positive = countBits(block.planes.sign!);
    add('mu - alpha', rows * columns - positive - encoding.salientCount);
    add('mu + alpha', positive);
    add('salient', encoding.salientCount);
  }
}

/** Number of weights by 2 m + s; the entry of 0 is left to the caller, who knows the columns that count. */
function countLevels(block: TensorData): number[] {
  const [sign, bitmap] = [block.planes.sign!, block.planes.bitmap!];
  const both = sign.map((bits, i) => bits & bitmap[i]!);
  const [s, m, p] = [countBits(sign), countBits(bitmap), countBits(both)];
  return [0, s - p, m - p, p];
}

function countBits(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) for (let rest = byte; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

function countInt8(block: TensorData, rows: number, columns: number) {
  const plane = block.planes.codes!;
  const counts = new Array<number>(BINS).fill(0);
  const stride = int8RowStride(columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) counts[(((plane[row * stride + k]! + 128) & 255) * BINS) >> 8]! += 1;
  }
  const label = (least: number, i: number): string => {
    const first = least + (256 / BINS) * i;
    return `${first} to ${first + 256 / BINS - 1}`;
  };
  return { least: -128, label, counts };
}

function countInt4(block: TensorData, rows: number, columns: number) {
  const plane = block.planes.codes!;
  const counts = new Array<number>(BINS).fill(0);
  const stride = int4RowStride(columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) {
      const nibble = (plane[row * stride + (k >> 1)]! >> (4 * (k & 1))) & 15;
      counts[nibble ^ 8]! += 1;
    }
  }
  return { least: -8, label: (least: number, i: number): string => String(least + i), counts };
}

/** Equal bins from the least to the greatest value. */
async function countValues(container: Container, name: string, moments: Moments): Promise<HistogramBar[]> {
  const { minimum, maximum } = moments;
  const show = (value: number): string => value.toPrecision(4);
  if (!(maximum > minimum)) return [{ label: show(minimum), count: moments.count }];
  const width = (maximum - minimum) / BINS;
  const counts = new Array<number>(BINS).fill(0);
  for await (const block of readRowBlocks(container, name)) {
    for (const value of decodeTensor(block)) {
      // NaN has no bin; a container that passes validation has none.
      const bin = Math.min(BINS - 1, Math.floor((value - minimum) / width));
      if (bin >= 0) counts[bin]! += 1;
    }
  }
  return counts.map((count, i) => ({
    label: `${show(minimum + width * i)} to ${show(minimum + width * (i + 1))}`,
    count,
  }));
}
