// Tiny random models of the Llama family, complete with tokenizer, as ModelSources: what whole-model tests run.
import { LLAMA, listTensors } from '@duobit/core';
import type { ActivationQuantizer, Architecture, AssetRole, ModelSource, TensorData } from '@duobit/format';
import { createRandom, drawNormal, type Random } from './random-values.ts';
import { type MadeTensor, makeDense, makeInteger, makeW11, makeW11Outlier } from './tensors.ts';
import { TOY_SPECIAL_TOKENS, TOY_VOCABULARY, toyTokenizer, toyTokenizerConfig } from './toy-tokenizer.ts';

export interface TinyModelOptions {
  readonly seed?: number;
  /** Encoding of the blocks' linear weights. Default 'f32'. */
  readonly linear?: 'f32' | 'f16' | 'bf16' | 'int8' | 'int4' | 'w11' | 'w11-outlier';
  /** Outlier columns of a weight. Default: the first, the last and one between, the same for weights of one input. */
  readonly outliers?: (weight: string, columns: number) => readonly number[];
  /** Encoding of embedding and head. Default 'f32'. */
  readonly embedding?: 'f32' | 'f16' | 'bf16' | 'int8' | 'int4';
  /** Default 64. */
  readonly groupSize?: number;
  /** W(1+1) with mu planes. Default true. */
  readonly offsets?: boolean;
  /** Of the blocks' linear weights. Default: clips of 1 for W(1+1), none for other encodings. */
  readonly quantizer?: (weight: string) => ActivationQuantizer | null;
  /** Whether the blocks' linear weights (by name) are stored for a rotated input. Default: none. */
  readonly rotated?: (weight: string) => boolean;
  /** Replaces fields of the default: 2 blocks, hidden 64, intermediate 172, 4 heads of 16 on 2 key/value heads. */
  readonly architecture?: Partial<Architecture>;
  /** Without it `readAsset('tokenizer')` gives null. Default true. */
  readonly tokenizer?: boolean;
}

export interface TinyModel extends ModelSource {
  /** The weights of plans with their exact values: the tensors, those with outlier columns in their two parts. */
  readonly made: ReadonlyMap<string, MadeTensor>;
}

export const TINY_ARCHITECTURE: Architecture = {
  family: 'llama',
  vocabularySize: TOY_VOCABULARY,
  hiddenSize: 64,
  intermediateSize: 172,
  blockCount: 2,
  headCount: 4,
  kvHeadCount: 2,
  headSize: 16,
  contextLength: 64,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: true,
};

const PLAIN: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

export function makeTinyModel(options: TinyModelOptions = {}): TinyModel {
  const { seed = 1, quantizer = options.linear?.startsWith('w11') ? () => PLAIN : () => null } = options;
  const architecture: Architecture = { ...TINY_ARCHITECTURE, ...options.architecture };
  const random = createRandom(seed);
  const made = new Map<string, MadeTensor>();
  const tensors = new Map<string, TensorData>();
  for (const spec of listTensors(architecture)) {
    const activation = spec.kind === 'linear' ? quantizer(spec.name) : null;
    const inputRotation =
      spec.kind === 'linear' && options.rotated?.(spec.name) ? ('hadamard' as const) : undefined;
    const complete = (data: TensorData) => ({ ...data, info: { ...data.info, activation, inputRotation } });
    const { data, parts } = makeTensor(
      spec.name,
      spec.shape,
      spec.kind,
      { ...options, inputRotation },
      random,
    );
    tensors.set(spec.name, complete(data));
    for (const part of parts) {
      // Outlier columns are multiplied by the input as it is.
      const own = part.data.info.name === spec.name ? complete(part.data) : part.data;
      made.set(own.info.name, { ...part, data: own });
    }
  }
  const find = (name: string): TensorData => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`the tiny model has no tensor ${name}`);
    return tensor;
  };
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const assets: Partial<Record<AssetRole, Uint8Array<ArrayBuffer>>> =
    options.tokenizer === false
      ? {}
      : { tokenizer: encode(toyTokenizer()), 'tokenizer-config': encode(toyTokenizerConfig()) };
  return {
    name: `tiny model ${seed}`,
    architecture,
    specialTokens: TOY_SPECIAL_TOKENS,
    tensorNames: [...tensors.keys()],
    made,
    tensorInfo: (name) => find(name).info,
    readTensor: async (name) => find(name),
    readAsset: async (role) => assets[role] ?? null,
    close: async () => {},
  };
}

/** A tensor, and the weights of plans that it is run as. */
function makeTensor(
  name: string,
  shape: readonly number[],
  kind: 'embedding' | 'norm' | 'linear' | 'head',
  options: TinyModelOptions & { readonly inputRotation: 'hadamard' | undefined },
  random: Random,
): { readonly data: TensorData; readonly parts: readonly MadeTensor[] } {
  const { linear = 'f32', embedding = 'f32', groupSize = 64, offsets = true, inputRotation } = options;
  const whole = (tensor: MadeTensor) => ({ data: tensor.data, parts: [tensor] });
  if (kind === 'norm')
    return whole(makeDense(name, shape, 'f32', random, (source) => 1 + 0.2 * drawNormal(source)));
  const [rows, columns] = [shape[0]!, shape[1]!];
  const encoding = kind === 'linear' ? linear : embedding;
  if (encoding === 'w11') return whole(makeW11(name, rows, columns, { groupSize, offsets }, random));
  if (encoding === 'w11-outlier') {
    const outliers = options.outliers?.(name, columns) ?? [0, columns >> 1, columns - 1];
    const w11 = { groupSize, offsets, outliers, inputRotation };
    const { data, bits, outliers: taken } = makeW11Outlier(name, rows, columns, w11, random);
    return { data, parts: [bits, taken] };
  }
  if (encoding === 'int8' || encoding === 'int4')
    return whole(makeInteger(name, rows, columns, encoding, groupSize, random));
  // An embedding wider than a linear weight keeps logits apart, so that the best token does not hang on rounding.
  const deviation = name === LLAMA.embedding || name === LLAMA.head ? 0.5 : 1 / Math.sqrt(columns);
  return whole(makeDense(name, shape, encoding, random, (source) => drawNormal(source) * deviation));
}
