// A small whole model with every encoding in it, made from a seed, for the tests of this package.
import {
  type ActivationQuantizer,
  type Architecture,
  type AssetSpec,
  type ContainerSpec,
  type ContainerSummary,
  createContainerWriter,
  createMemorySink,
  type Encoding,
  elementCount,
  encodedPlaneLengths,
  groupCount,
  type Planes,
  packDense,
  packInt4,
  packInt8,
  packPartialBinary,
  packW11,
  packW11Outlier,
  type TensorSpec,
} from '@duobit/format';

/** mulberry32: a small seeded generator; gives numbers in [0, 1). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const ARCHITECTURE: Architecture = {
  family: 'llama',
  vocabularySize: 37,
  hiddenSize: 36,
  intermediateSize: 52,
  blockCount: 2,
  headCount: 4,
  kvHeadCount: 2,
  headSize: 10,
  contextLength: 64,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: false,
};

const text = (value: string) => new TextEncoder().encode(value);

export const ASSETS: readonly AssetSpec[] = [
  { role: 'chat-template', mediaType: 'text/plain', bytes: text('{{ messages }}') },
  {
    role: 'tokenizer',
    mediaType: 'application/json',
    bytes: text('{"model":{"vocab":{"a":0,"b":36}},"added_tokens":[{"id":1,"content":"<s>"}]}'),
  },
];

const W11 = { kind: 'w11', groupSize: 32, offsets: true } as const;
const OUTLIERS = { kind: 'w11-outlier', groupSize: 32, offsets: true, outlierColumns: 3 } as const;
const BINARY = { kind: 'partial-binary', groupSize: 32, salientCount: 70 } as const;

/** Tensors of the sample, in an order that is not the file's. */
export function listTensors(): TensorSpec[] {
  const tensors: TensorSpec[] = [];
  const plain: ActivationQuantizer = {
    bits: 4,
    clipLow: 0.875,
    clipHigh: 0.9,
    knee: null,
    planeScales: null,
  };
  const add = (
    name: string,
    shape: number[],
    encoding: Encoding,
    activation: ActivationQuantizer | null = null,
  ) => {
    tensors.push({ name, shape, encoding, activation });
  };
  add('lm_head.weight', [37, 36], { kind: 'int4', groupSize: 32 });
  add('model.norm.weight', [36], { kind: 'f16' });
  for (const block of [1, 0]) {
    const prefix = `model.layers.${block}`;
    add(`${prefix}.mlp.down_proj.weight`, [36, 52], W11, plain);
    add(`${prefix}.mlp.up_proj.weight`, [52, 36], { ...W11, offsets: false }, plain);
    add(`${prefix}.mlp.gate_proj.weight`, [52, 36], block === 0 ? W11 : OUTLIERS, {
      ...plain,
      planeScales: block === 0 ? null : [1, 2, 4, 8.5],
    });
    add(`${prefix}.post_attention_layernorm.weight`, [36], { kind: 'bf16' });
    add(`${prefix}.self_attn.o_proj.weight`, [36, 40], block === 0 ? W11 : BINARY, plain);
    add(`${prefix}.self_attn.v_proj.weight`, [20, 36], { kind: 'f16' });
    add(`${prefix}.self_attn.k_proj.weight`, [20, 36], W11, {
      ...plain,
      knee: block === 0 ? null : { code: 12, slopeRatio: 3 },
    });
    add(`${prefix}.self_attn.q_proj.weight`, [40, 36], W11, plain);
    add(`${prefix}.input_layernorm.weight`, [36], { kind: 'f32' });
  }
  add('model.embed_tokens.weight', [37, 36], { kind: 'int8', groupSize: 32 });
  return tensors;
}

export function makeSpec(change: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    architecture: ARCHITECTURE,
    specialTokens: { bos: 1, eos: [2, 0], pad: null, addBos: true },
    assets: ASSETS,
    tensors: listTensors(),
    provenance: {
      producer: 'sample 1',
      sourceName: 'sample',
      sourceSha256: 'ab'.repeat(32),
      recipe: '{"group":32}',
      calibrationSha256: null,
    },
    kvCache: { keyBits: 8, valueBits: 4, groupSize: 32, symmetric: true },
    metadata: { 'z.last': 'ümläut', a: '', '10': 'ten', '9': 'nine' },
    ...change,
  };
}

/** Random planes that satisfy every rule of the encoding. */
export function makePlanes(tensor: Pick<TensorSpec, 'encoding' | 'shape'>, random: () => number): Planes {
  const { encoding, shape } = tensor;
  const elements = elementCount(shape);
  const [rows = 1, columns = 1] = shape;
  const floats = (count: number) => Float32Array.from({ length: count }, () => random() - 0.5);
  const bits = () => Uint8Array.from({ length: elements }, () => (random() < 0.5 ? 0 : 1));
  const codes = (count: number, least: number, span: number) =>
    Int8Array.from({ length: count }, () => least + Math.floor(random() * span));
  /** `count` different numbers below `most`, ascending. */
  const pick = (most: number, count: number) => {
    const keys = Array.from({ length: most }, (_, i) => [random(), i] as const);
    const picked = keys.sort(([a], [b]) => a - b).slice(0, count);
    return Uint32Array.from(picked.map(([, i]) => i)).sort();
  };
  switch (encoding.kind) {
    case 'w11':
    case 'w11-outlier': {
      const { groupSize, offsets } = encoding;
      const levels = 2 * rows * groupCount(columns, groupSize);
      const mu = offsets ? floats(levels) : null;
      const w11 = { rows, columns, groupSize, sign: bits(), bitmap: bits(), alpha: floats(levels), mu };
      if (encoding.kind === 'w11') return packW11(w11);
      const outlierCodes = codes(rows * encoding.outlierColumns, -127, 255);
      return packW11Outlier({
        ...w11,
        outlierIndex: pick(columns, encoding.outlierColumns),
        outlierCodes,
        outlierScale: floats(rows),
      });
    }
    case 'partial-binary': {
      const { groupSize, salientCount } = encoding;
      const groups = rows * groupCount(columns, groupSize);
      const salient = new Uint8Array(elements);
      for (const i of pick(elements, salientCount)) salient[i] = 1;
      return packPartialBinary({
        rows,
        columns,
        groupSize,
        sign: bits(),
        alpha: floats(groups),
        mu: floats(groups),
        salient,
        salientCodes: Uint8Array.from({ length: elements }, () => Math.floor(random() * 256)),
        salientScale: floats(rows),
        salientMinimum: floats(rows),
      });
    }
    case 'int8':
    case 'int4': {
      const { groupSize, kind } = encoding;
      const span = kind === 'int8' ? 255 : 16;
      const least = kind === 'int8' ? -127 : -8;
      const scale = floats(rows * groupCount(columns, groupSize));
      const input = { rows, columns, groupSize, codes: codes(elements, least, span), scale };
      return (kind === 'int8' ? packInt8 : packInt4)(input);
    }
    case 'unknown':
      throw new Error('the sample has no unknown encodings');
    default:
      return packDense(floats(elements), encoding.kind);
  }
}

/** Every tensor's planes; the same seed gives the same. */
export function makeWeights(spec: ContainerSpec, seed: number): Map<string, Planes> {
  const random = createRandom(seed);
  return new Map(spec.tensors.map((tensor) => [tensor.name, makePlanes(tensor, random)]));
}

export interface Sample {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly summary: ContainerSummary;
  readonly weights: ReadonlyMap<string, Planes>;
}

/** Writes the sample into memory. */
export async function writeSample(spec: ContainerSpec = makeSpec(), seed = 1): Promise<Sample> {
  const weights = makeWeights(spec, seed);
  const sink = createMemorySink('sample.duo');
  const writer = await createContainerWriter(spec, sink);
  for (const name of writer.order) await writer.writeTensor(name, weights.get(name)!);
  const summary = await writer.finish();
  return { bytes: sink.bytes(), summary, weights };
}

/** Sum of the lengths of a tensor's planes. */
export function encodedBytes(tensor: Pick<TensorSpec, 'encoding' | 'shape'>): number {
  return Object.values(encodedPlaneLengths(tensor.encoding, tensor.shape)).reduce(
    (sum, length) => sum + length,
    0,
  );
}
