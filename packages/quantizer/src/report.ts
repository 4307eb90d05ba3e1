// What a quantization did, tensor by tensor and in sum. Sizes are bytes as stored; nothing is left out of bits a weight.
import type { TensorSpec } from '@duobit/core';
import { type Encoding, groupCount, type PlaneRole } from '@duobit/format';
import type { PackedLayer } from './methods/layer-method.ts';
import { readLevels } from './methods/w11-levels.ts';
import type { Recipe } from './recipe.ts';
import type { StageReport } from './stages/stage-report.ts';
import type { EncodedTensor } from './tensor-encoding.ts';

/** The part of a report about one tensor. */
export interface TensorReport {
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: TensorSpec['kind'];
  readonly encoding: Encoding['kind'];
  /** Bytes of all planes. */
  readonly bytes: number;
  readonly weights: number;
  readonly bitsPerWeight: number;
  /** sum h (w - w^)^2 / sum h w^2 with the importance h the fit used; 0 for a tensor of zeros. */
  readonly relativeError: number;
  /** The same with h = 1. */
  readonly relativeErrorUniform: number;
  /** Bytes of each plane; they add up to `bytes`. */
  readonly planes: Readonly<Partial<Record<PlaneRole, number>>>;
  /** Of a W(1+1) tensor without outlier columns; null for others. */
  readonly levels: LevelStatistics | null;
}

/** What the four levels of a tensor's groups are used for, the lowest first. */
export interface LevelStatistics {
  /** Weights that have it. */
  readonly counts: readonly number[];
  /** Mean over all weights that have it, in root mean squares of the stored weights; 0 where none has it. */
  readonly means: readonly number[];
}

/** What a quantization made, with sizes and errors. */
export interface QuantizeReport {
  readonly outPath: string;
  readonly sourceName: string;
  readonly fileBytes: number;
  /** The container's identity. */
  readonly headerSha256: string;
  /** False: the checkpoint had none, so whoever needs text refuses the container. */
  readonly hasTokenizer: boolean;
  readonly parameters: number;
  /** W(1+1) tensors only: weights, bytes of all their planes, and the ratio. */
  readonly linearWeights: number;
  readonly linearBytes: number;
  readonly bitsPerWeightLinear: number;
  /** 8 * fileBytes / parameters: header, tokenizer, embedding and padding included. */
  readonly bitsPerWeightFile: number;
  /** Mean over linear layers of `relativeError`, weighted by their number of weights. */
  readonly relativeErrorLinear: number;
  /** 0 without calibration. */
  readonly calibrationTokens: number;
  readonly seconds: number;
  readonly tensors: readonly TensorReport[];
  /** In order; empty without calibration. */
  readonly stages: readonly StageReport[];
  /** Tokens of the windows that perplexity after each stage was measured on; 0 when it was not. */
  readonly evaluationTokens: number;
  readonly recipe: Recipe;
}

export function reportTensor(spec: TensorSpec, encoding: Encoding, encoded: EncodedTensor): TensorReport {
  const weights = spec.shape.reduce((product, size) => product * size, 1);
  const { sums, bytes } = encoded;
  return {
    name: spec.name,
    shape: spec.shape,
    kind: spec.kind,
    encoding: encoding.kind,
    bytes,
    weights,
    bitsPerWeight: (8 * bytes) / weights,
    relativeError: ratio(sums.weightedError, sums.weightedSquares),
    relativeErrorUniform: ratio(sums.error, sums.squares),
    planes: Object.fromEntries(Object.entries(encoded.planes).map(([role, plane]) => [role, plane.length])),
    levels: encoding.kind === 'w11' ? countLevels(spec, { encoding, planes: encoded.planes }) : null,
  };
}

function countLevels({ shape }: TensorSpec, layer: PackedLayer): LevelStatistics {
  const [rows, columns] = shape as [number, number];
  const { encoding } = layer;
  if (encoding.kind !== 'w11') throw new TypeError(`${encoding.kind} has no levels`);
  const { levels, codes } = readLevels(layer, [rows, columns]);
  const groups = groupCount(columns, encoding.groupSize);
  const counts = [0, 0, 0, 0];
  const sums = [0, 0, 0, 0];
  let squares = 0;
  for (let row = 0, i = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, i++) {
      const code = codes[i]!;
      const level = levels[(row * groups + Math.floor(column / encoding.groupSize)) * 4 + code]!;
      counts[code]! += 1;
      sums[code]! += level;
      squares += level * level;
    }
  const unit = Math.sqrt(squares / codes.length) || 1;
  return { counts, means: sums.map((sum, i) => (counts[i] === 0 ? 0 : sum / counts[i]! / unit)) };
}

export function makeReport(
  tensors: readonly TensorReport[],
  facts: Pick<
    QuantizeReport,
    | 'outPath'
    | 'sourceName'
    | 'fileBytes'
    | 'headerSha256'
    | 'hasTokenizer'
    | 'calibrationTokens'
    | 'seconds'
    | 'stages'
    | 'evaluationTokens'
    | 'recipe'
  >,
): QuantizeReport {
  const linear = tensors.filter((tensor) => tensor.kind === 'linear');
  const sum = (list: readonly TensorReport[], pick: (tensor: TensorReport) => number) =>
    list.reduce((total, tensor) => total + pick(tensor), 0);
  const parameters = sum(tensors, (tensor) => tensor.weights);
  const linearWeights = sum(linear, (tensor) => tensor.weights);
  const linearBytes = sum(linear, (tensor) => tensor.bytes);
  return {
    ...facts,
    parameters,
    linearWeights,
    linearBytes,
    bitsPerWeightLinear: (8 * linearBytes) / linearWeights,
    bitsPerWeightFile: (8 * facts.fileBytes) / parameters,
    relativeErrorLinear: sum(linear, (tensor) => tensor.relativeError * tensor.weights) / linearWeights,
    tensors,
  };
}

function ratio(error: number, squares: number): number {
  return squares === 0 ? 0 : error / squares;
}
