// Random tensors of every encoding, each with its exact values in double precision, computed from the numbers it was made
// of and not through any decoder.
import { outliersOf } from '@duobit/core';
import {
  bf16ToF32,
  type Encoding,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  type IntegerInput,
  packDense,
  packInt4,
  packInt8,
  packW11,
  packW11Outlier,
  type TensorData,
  type W11Input,
} from '@duobit/format';
import { drawInteger, drawNormal, type Random } from './random-values.ts';

/** A matrix with what tests need to know of it. A vector has one row. */
export interface MadeTensor {
  readonly data: TensorData;
  readonly rows: number;
  readonly columns: number;
  /** [rows, columns], exact. */
  readonly weights: Float64Array;
  /**
   * [rows, columns]: what bounds the rounding errors of a weight's contribution. The absolute value of the weight; for
   * W(1+1) the sum of absolute values of the terms c0 + c1 s + c2 m + c3 s m it may be computed from.
   */
  readonly magnitudes: Float64Array;
  /** Columns that share a scale; all columns when dense. */
  readonly groupSize: number;
}

type Values = (random: Random) => number;

const roundTo = {
  f32: Math.fround,
  f16: (value: number) => f16ToF32(f32ToF16(value)),
  bf16: (value: number) => bf16ToF32(f32ToBf16(value)),
} as const;

function wrap(name: string, shape: readonly number[], encoding: Encoding, planes: TensorData['planes']) {
  return { info: { name, shape, encoding, activation: null }, planes };
}

/** A dense matrix, or a vector when the shape has one axis. Default values: normal, scaled by 1 / sqrt(columns). */
export function makeDense(
  name: string,
  shape: readonly number[],
  kind: 'f32' | 'f16' | 'bf16',
  random: Random,
  values?: Values,
): MadeTensor {
  const columns = shape[shape.length - 1]!;
  const rows = shape.length === 2 ? shape[0]! : 1;
  const draw = values ?? ((source: Random) => drawNormal(source) / Math.sqrt(columns));
  const weights = Float64Array.from({ length: rows * columns }, () =>
    roundTo[kind](Math.fround(draw(random))),
  );
  const data = wrap(name, shape, { kind }, packDense(Float32Array.from(weights), kind));
  return { data, rows, columns, weights, magnitudes: weights.map(Math.abs), groupSize: columns };
}

/** Grouped symmetric integers with random scales. */
export function makeInteger(
  name: string,
  rows: number,
  columns: number,
  kind: 'int8' | 'int4',
  groupSize: number,
  random: Random,
): MadeTensor {
  const groups = Math.ceil(columns / groupSize);
  const [least, most] = kind === 'int8' ? [-127, 127] : [-8, 7];
  const codes = Int8Array.from({ length: rows * columns }, () => drawInteger(random, least, most));
  const scale = Float32Array.from({ length: rows * groups }, () =>
    roundTo.f16((0.5 + random()) / (most * Math.sqrt(columns))),
  );
  return assembleInteger(name, kind, { rows, columns, groupSize, codes, scale });
}

function assembleInteger(name: string, kind: 'int8' | 'int4', input: IntegerInput): MadeTensor {
  const { rows, columns, groupSize, codes, scale } = input;
  const groups = Math.ceil(columns / groupSize);
  const weights = new Float64Array(rows * columns);
  for (let n = 0; n < rows; n++)
    for (let k = 0; k < columns; k++)
      weights[n * columns + k] = scale[n * groups + Math.floor(k / groupSize)]! * codes[n * columns + k]!;
  const planes = (kind === 'int8' ? packInt8 : packInt4)(input);
  const data = wrap(name, [rows, columns], { kind, groupSize }, planes);
  return { data, rows, columns, weights, magnitudes: weights.map(Math.abs), groupSize };
}

export interface W11Options {
  readonly groupSize: number;
  /** With mu planes (four free levels) or without (symmetric). */
  readonly offsets: boolean;
  /** Half-distances of the pairs. Default: random, scaled by 1 / sqrt(columns). */
  readonly alpha?: Values;
  /** Middles of the pairs. */
  readonly mu?: Values;
}

/** W(1+1): random bits, random levels. */
export function makeW11(
  name: string,
  rows: number,
  columns: number,
  options: W11Options,
  random: Random,
): MadeTensor {
  return assembleW11(
    name,
    drawW11(rows, columns, options, random, () => true),
  );
}

/** @param hasBits whether a column has bits; without it they are 0 */
function drawW11(
  rows: number,
  columns: number,
  options: W11Options,
  random: Random,
  hasBits: (column: number) => boolean,
): W11Input {
  const { groupSize, offsets } = options;
  const groups = Math.ceil(columns / groupSize);
  const unit = 1 / Math.sqrt(columns);
  const drawAlpha = options.alpha ?? ((source) => (0.1 + source()) * unit);
  const drawMu = options.mu ?? ((source) => drawNormal(source) * 0.3 * unit);
  const levels = (draw: Values) =>
    Float32Array.from({ length: rows * groups * 2 }, () => roundTo.f16(draw(random)));
  const bits = () =>
    Uint8Array.from({ length: rows * columns }, (_, at) =>
      hasBits(at % columns) ? drawInteger(random, 0, 1) : 0,
    );
  const [sign, bitmap, alpha] = [bits(), bits(), levels(drawAlpha)];
  const mu = offsets ? levels(drawMu) : null;
  return { rows, columns, groupSize, sign, bitmap, alpha, mu };
}

function assembleW11(name: string, input: W11Input): MadeTensor {
  const { rows, columns, groupSize, sign, bitmap, alpha, mu } = input;
  const groups = Math.ceil(columns / groupSize);
  const weights = new Float64Array(rows * columns);
  const magnitudes = new Float64Array(rows * columns);
  for (let n = 0; n < rows; n++)
    for (let k = 0; k < columns; k++) {
      const at = n * columns + k;
      const group = 2 * (n * groups + Math.floor(k / groupSize));
      const s = sign[at]!;
      const m = bitmap[at]!;
      const [a0, a1] = [alpha[group]!, alpha[group + 1]!];
      const [m0, m1] = mu ? [mu[group]!, mu[group + 1]!] : [0, 0];
      weights[at] = (m ? m1 : m0) + (m ? a1 : a0) * (2 * s - 1);
      magnitudes[at] =
        Math.abs(m0 - a0) +
        Math.abs(2 * a0) * s +
        Math.abs(m1 - a1 - (m0 - a0)) * m +
        Math.abs(2 * (a1 - a0)) * s * m;
    }
  const encoding = { kind: 'w11', groupSize, offsets: mu !== null } as const;
  const data = wrap(name, [rows, columns], encoding, packW11(input));
  return { data, rows, columns, weights, magnitudes, groupSize };
}

export interface MadeOutlierTensor {
  /** The w11-outlier tensor. */
  readonly data: TensorData;
  /** What it is run as, of the same numbers: W(1+1), and the outlier columns. */
  readonly bits: MadeTensor;
  readonly outliers: MadeTensor;
}

/** Random W(1+1) with the given outlier columns, whose weights are some ten times as large. */
export function makeW11Outlier(
  name: string,
  rows: number,
  columns: number,
  options: W11Options & {
    readonly outliers: readonly number[];
    readonly inputRotation?: 'hadamard' | undefined;
  },
  random: Random,
): MadeOutlierTensor {
  const { groupSize, offsets, outliers, inputRotation } = options;
  // Only beside a rotation do outlier columns have bits.
  const hasBits = (k: number) => inputRotation !== undefined || !outliers.includes(k);
  const input = drawW11(rows, columns, options, random, hasBits);
  const largest = 10 / Math.sqrt(columns);
  const codes = Int8Array.from({ length: rows * outliers.length }, () => drawInteger(random, -127, 127));
  const scale = Float32Array.from({ length: rows }, () => roundTo.f16(((0.5 + random()) * largest) / 127));
  const planes = packW11Outlier({
    ...input,
    outlierIndex: Uint32Array.from(outliers),
    outlierCodes: codes,
    outlierScale: scale,
    inputRotation,
  });
  const encoding = { kind: 'w11-outlier', groupSize, offsets, outlierColumns: outliers.length } as const;
  const { info } = wrap(name, [rows, columns], encoding, planes);
  return {
    data: { info: { ...info, inputRotation }, planes },
    bits: assembleW11(name, input),
    outliers: assembleInteger(outliersOf(name), 'int8', {
      rows,
      columns: outliers.length,
      groupSize: 256,
      codes,
      scale,
    }),
  };
}
