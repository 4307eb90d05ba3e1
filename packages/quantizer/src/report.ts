// What a quantization did, tensor by tensor and in sum. Sizes are bytes as stored; nothing is left out of bits a weight.
import type { TensorSpec } from '@duobit/core';
import type { Encoding } from '@duobit/format';
import type { EncodedTensor } from './tensor-encoding.ts';

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
}

export interface QuantizeReport {
  readonly outPath: string;
  readonly sourceName: string;
  readonly fileBytes: number;
  /** The container's identity. */
  readonly headerSha256: string;
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
  };
}

export function makeReport(
  tensors: readonly TensorReport[],
  facts: Pick<
    QuantizeReport,
    'outPath' | 'sourceName' | 'fileBytes' | 'headerSha256' | 'calibrationTokens' | 'seconds'
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
