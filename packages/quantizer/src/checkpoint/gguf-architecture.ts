// GGUF metadata of the "llama" architecture -> Architecture, and GGUF tensor names -> Hugging Face names.
import type { Architecture, RopeScaling } from '@duobit/format';
import { checkHeads, LIMITS, unsupportedArchitecture } from './architecture.ts';
import { Fields, type Range } from './fields.ts';
import type { GgufValue } from './gguf-header.ts';

const OUTSIDE: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

const IN_BLOCK: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

export const ROPE_FACTORS = 'rope_freqs.weight';

/** The Hugging Face name of a GGUF tensor; names that are not known stay as they are. */
export function toHuggingFaceName(name: string): string {
  if (Object.hasOwn(OUTSIDE, name)) return OUTSIDE[name]!;
  const [, block, part] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name) ?? [];
  if (block === undefined || part === undefined || !Object.hasOwn(IN_BLOCK, part)) return name;
  return `model.layers.${block}.${IN_BLOCK[part]}.weight`;
}

/** The metadata keys that change the arithmetic in ways that plain Llama does not have. */
const REFUSED = [
  'llama.expert_count',
  'llama.expert_used_count',
  'llama.logit_scale',
  'llama.residual_scale',
  'llama.embedding_scale',
  'llama.attention.scale',
] as const;

/** llama.cpp allows one value for all blocks, or a list with one a block; only equal ones are one architecture. */
function readPerBlock(fields: Fields, name: string, range: Range, fallback?: number): number {
  const value = fields.get(name);
  if (!Array.isArray(value)) return fields.integer(name, range, fallback);
  if (value.length === 0 || value.some((item) => item !== value[0])) {
    throw fields.unsupported(
      name,
      'blocks of different shape are not supported',
      'Use a model with equal blocks',
    );
  }
  return new Fields(new Map([[name, value[0]]]), fields.source).integer(name, range);
}

/**
 * @param fields metadata @param vocabularySize rows of the embedding @param tiedHead whether output.weight is absent
 * @param ropeFactors values of rope_freqs.weight, if the file has it
 * @throws DuobitError `CHECKPOINT_ARCHITECTURE_UNSUPPORTED`, `CHECKPOINT_CONFIG_INVALID`,
 * `CHECKPOINT_FEATURE_UNSUPPORTED`
 */
export function readGgufArchitecture(
  metadata: ReadonlyMap<string, GgufValue>,
  source: string,
  tensors: {
    readonly vocabularySize: number;
    readonly tiedHead: boolean;
    readonly ropeFactors: Float32Array | null;
  },
): Architecture {
  const fields = new Fields(metadata, source);
  const name = fields.string('general.architecture');
  if (name === undefined) throw fields.invalid('general.architecture', 'must name the architecture');
  if (name !== 'llama')
    throw unsupportedArchitecture(`the GGUF architecture ${name}`, source, 'general.architecture');
  for (const key of REFUSED) {
    if (fields.has(key) && fields.get(key) !== 0 && !(key.endsWith('_scale') && fields.get(key) === 1)) {
      throw fields.unsupported(key, `${key} is ${String(fields.get(key))}`, 'Use a plain dense Llama model');
    }
  }
  const hiddenSize = fields.integer('llama.embedding_length', LIMITS.width);
  const headCount = readPerBlock(fields, 'llama.attention.head_count', LIMITS.heads);
  if (!fields.has('llama.attention.key_length') && hiddenSize % headCount !== 0) {
    throw fields.invalid('llama.attention.head_count', `must divide the embedding length ${hiddenSize}`);
  }
  const headSize = fields.integer(
    'llama.attention.key_length',
    LIMITS.width,
    Math.floor(hiddenSize / headCount),
  );
  for (const key of ['llama.attention.value_length', 'llama.rope.dimension_count']) {
    if (fields.integer(key, LIMITS.width, headSize) !== headSize) {
      throw fields.unsupported(
        key,
        `${key} is ${String(fields.get(key))}, heads have ${headSize} entries`,
        'Use a model whose heads are rotated whole, with keys and values of one size',
      );
    }
  }
  const window = fields.integer('llama.attention.sliding_window', { min: 0, max: LIMITS.context.max }, 0);
  const ropeTheta = fields.positive('llama.rope.freq_base', 10_000);
  const architecture: Architecture = {
    family: window > 0 ? 'mistral' : 'llama',
    vocabularySize: tensors.vocabularySize,
    hiddenSize,
    intermediateSize: readPerBlock(fields, 'llama.feed_forward_length', LIMITS.width),
    blockCount: fields.integer('llama.block_count', LIMITS.blocks),
    headCount,
    kvHeadCount: readPerBlock(fields, 'llama.attention.head_count_kv', LIMITS.heads, headCount),
    headSize,
    contextLength: fields.integer('llama.context_length', LIMITS.context),
    normEpsilon: fields.positive('llama.attention.layer_norm_rms_epsilon'),
    ropeTheta,
    ropeScaling: readRopeScaling(fields, tensors.ropeFactors, headSize, ropeTheta),
    slidingWindow: window > 0 ? window : null,
    tiedHead: tensors.tiedHead,
  };
  checkHeads(architecture, fields, 'llama.attention.head_count_kv');
  return architecture;
}

function readRopeScaling(
  fields: Fields,
  factors: Float32Array | null,
  headSize: number,
  theta: number,
): RopeScaling | null {
  // A file that does not name the type means linear, as llama.cpp has it.
  const type = fields.string('llama.rope.scaling.type') ?? 'linear';
  if (type !== 'none' && type !== 'linear') {
    throw fields.unsupported(
      'llama.rope.scaling.type',
      `RoPE scaling ${JSON.stringify(type)} is not supported`,
      'Use a model with RoPE scaling none, linear or llama3',
    );
  }
  const key = fields.has('llama.rope.scaling.factor')
    ? 'llama.rope.scaling.factor'
    : 'llama.rope.scale_linear';
  // Without a type that uses it a factor says nothing; 0 stands for none.
  const linear = type === 'none' || fields.get(key) === 0 ? 1 : fields.positive(key, 1);
  const llama3 = factors === null ? null : findLlama3Scaling(fields, factors, headSize, theta);
  if (llama3 === null) return linear === 1 ? null : { kind: 'linear', factor: linear };
  if (linear === 1) return llama3;
  throw fields.unsupported(
    key,
    'linear scaling on top of RoPE factors is not supported',
    'Use a model with one',
  );
}

/** Divisor of each pair's frequency under Llama 3 scaling (transformers, modeling_rope_utils, "llama3"). */
export function llama3Factors(
  scaling: Extract<RopeScaling, { kind: 'llama3' }>,
  headSize: number,
  theta: number,
): Float64Array {
  const {
    factor,
    lowFrequencyFactor: low,
    highFrequencyFactor: high,
    originalContextLength: context,
  } = scaling;
  return Float64Array.from({ length: headSize / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / headSize);
    if (wavelength < context / high) return 1;
    if (wavelength > context / low) return factor;
    const smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/**
 * GGUF keeps the factors of the pairs, not the four parameters behind them. Every published Llama 3 has frequency
 * factors 1 and 4 and an original context that is a power of two: the parameters are those that give the factors back.
 */
function findLlama3Scaling(
  fields: Fields,
  factors: Float32Array,
  headSize: number,
  theta: number,
): Extract<RopeScaling, { kind: 'llama3' }> | null {
  const factor = factors.at(-1) ?? 1;
  if (factors.every((value) => value === 1)) return null;
  for (let exponent = 10; exponent <= 20 && factors.length === headSize / 2; exponent++) {
    const scaling = {
      kind: 'llama3',
      factor,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 2 ** exponent,
    } as const;
    const expected = llama3Factors(scaling, headSize, theta);
    if (factors.every((value, i) => Math.abs(value - expected[i]!) <= 1e-4 * expected[i]!)) return scaling;
  }
  throw fields.unsupported(
    ROPE_FACTORS,
    `its ${factors.length} factors are not those of Llama 3 scaling`,
    'Use the Hugging Face folder of the model, or a model with Llama 3 scaling',
  );
}
