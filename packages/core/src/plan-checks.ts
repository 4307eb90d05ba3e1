// What buildPlan refuses of a model before it plans anything.
import { type Architecture, DuobitError, type ModelTensor, type TensorInfo } from '@duobit/format';
import type { PlanSource } from './build-plan.ts';

export type TensorFacts = Pick<TensorInfo, 'name' | 'shape' | 'encoding' | 'activation' | 'inputRotation'>;

export function checkArchitecture(architecture: Architecture, source: string): void {
  const invalid = (message: string, where: string): DuobitError =>
    new DuobitError('PLAN_ARCHITECTURE_INVALID', message, {
      source,
      where,
      remedy: "Check the model's configuration",
    });
  // Types do not bind data that came from a file.
  const family: string = architecture.family;
  if (family !== 'llama' && family !== 'mistral')
    throw invalid(`model family "${family}" has no plan; known are "llama" and "mistral"`, 'family');
  const counts = [
    'vocabularySize',
    'hiddenSize',
    'intermediateSize',
    'blockCount',
    'headCount',
    'kvHeadCount',
    'headSize',
    'contextLength',
  ] as const;
  for (const field of counts) {
    const value = architecture[field];
    if (!Number.isInteger(value) || value < 1)
      throw invalid(`${field} is ${value}; it must be a positive integer`, field);
  }
  const { headCount, kvHeadCount, slidingWindow, normEpsilon } = architecture;
  if (headCount % kvHeadCount !== 0)
    throw invalid(`${headCount} heads cannot share ${kvHeadCount} key/value heads evenly`, 'kvHeadCount');
  if (slidingWindow !== null && (!Number.isInteger(slidingWindow) || slidingWindow < 1))
    throw invalid(`sliding window is ${slidingWindow}; it must be a positive integer`, 'slidingWindow');
  if (!(normEpsilon >= 0 && Number.isFinite(normEpsilon)))
    throw invalid(`norm epsilon is ${normEpsilon}; it must be zero or more`, 'normEpsilon');
}

export function checkTensor(
  source: PlanSource,
  present: ReadonlySet<string>,
  spec: ModelTensor,
): TensorFacts {
  const facts = { source: source.name, where: spec.name };
  if (!present.has(spec.name))
    throw new DuobitError(
      'PLAN_TENSOR_MISSING',
      `tensor "${spec.name}" of shape [${spec.shape.join(', ')}] is not in the model`,
      { ...facts, remedy: 'Use a complete checkpoint of a supported architecture' },
    );
  const bias = spec.name.replace(/\.weight$/, '.bias');
  if (present.has(bias))
    throw new DuobitError('PLAN_TENSOR_UNSUPPORTED', `tensor "${bias}" would have to be ignored`, {
      source: source.name,
      where: bias,
      remedy: 'Use a model without biases; layers with biases are not supported',
    });
  const tensor = source.tensorInfo(spec.name);
  const { shape, encoding } = tensor;
  if (shape.length !== spec.shape.length || shape.some((size, axis) => size !== spec.shape[axis]))
    throw new DuobitError(
      'PLAN_SHAPE_MISMATCH',
      `tensor "${spec.name}" has shape [${shape.join(', ')}]; the architecture needs [${spec.shape.join(', ')}]`,
      { ...facts, remedy: "Check that the model's configuration belongs to its weights" },
    );
  const { kind } = encoding;
  const dense = kind === 'f32' || kind === 'f16' || kind === 'bf16';
  const supported =
    dense ||
    (spec.kind !== 'norm' && (kind === 'int8' || kind === 'int4')) ||
    (spec.kind === 'linear' && (kind === 'w11' || kind === 'w11-outlier'));
  if (!supported)
    throw new DuobitError(
      'PLAN_ENCODING_UNSUPPORTED',
      `tensor "${spec.name}" (${spec.kind}) is encoded as "${kind}", which cannot be used there`,
      { ...facts, remedy: 'Quantize the model again, or use a newer version of this library' },
    );
  return tensor;
}
