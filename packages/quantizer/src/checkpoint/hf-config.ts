// config.json of a Hugging Face folder (transformers 4 and 5) -> Architecture.
import type { Architecture, RopeScaling } from '@duobit/format';
import { checkHeads, LIMITS, unsupportedArchitecture } from './architecture.ts';
import { Fields } from './fields.ts';
import { isObject, type JsonObject } from './strict-json.ts';

const FAMILIES: Readonly<Record<string, Architecture['family']>> = {
  LlamaForCausalLM: 'llama',
  llama: 'llama',
  MistralForCausalLM: 'mistral',
  mistral: 'mistral',
};

function readFamily(fields: Fields): Architecture['family'] {
  const classes = fields.get('architectures');
  const [where, found] =
    Array.isArray(classes) && classes.length > 0
      ? ['architectures', classes[0]]
      : ['model_type', fields.get('model_type')];
  if (typeof found !== 'string') {
    throw fields.invalid('architectures', 'must name the model class, or model_type the kind of model');
  }
  const family = Object.hasOwn(FAMILIES, found) ? FAMILIES[found] : undefined;
  if (family === undefined) throw unsupportedArchitecture(found, fields.source, where);
  return family;
}

/** Refuses what would silently give another model. */
function refuseUnsupported(fields: Fields): void {
  for (const name of ['attention_bias', 'mlp_bias']) {
    if (fields.boolean(name, false)) {
      throw fields.unsupported(
        name,
        `${name} is true; biases are not supported`,
        'Use a checkpoint without biases',
      );
    }
  }
  const activation = fields.string('hidden_act') ?? 'silu';
  if (activation !== 'silu' && activation !== 'swish') {
    throw fields.unsupported(
      'hidden_act',
      `activation ${activation} is not supported`,
      'Use a model with SiLU',
    );
  }
  if (fields.has('quantization_config')) {
    throw fields.unsupported(
      'quantization_config',
      'the weights are quantized already',
      'Use the full-precision checkpoint',
    );
  }
  if (fields.has('partial_rotary_factor') && fields.get('partial_rotary_factor') !== 1) {
    throw fields.unsupported(
      'partial_rotary_factor',
      'heads that are rotated in part are not supported',
      'Use a model that rotates whole heads',
    );
  }
}

function readRope(fields: Fields): { ropeTheta: number; ropeScaling: RopeScaling | null } {
  // transformers 5 keeps theta and scaling together in rope_parameters; before it they were two fields.
  const where = fields.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling';
  const value = fields.get(where);
  if (value !== undefined && !isObject(value)) throw fields.invalid(where, 'must be an object or null');
  const rope = new Fields(new Map(Object.entries(value ?? {})), fields.source);
  const ropeTheta = rope.has('rope_theta')
    ? rope.positive('rope_theta')
    : fields.positive('rope_theta', 10_000);
  if (rope.has('partial_rotary_factor')) refuseUnsupported(rope);
  const kind = rope.string('rope_type') ?? rope.string('type') ?? 'default';
  switch (kind) {
    case 'default':
      if (value !== undefined && rope.has('factor')) throw fields.invalid(where, 'must say its rope_type');
      return { ropeTheta, ropeScaling: null };
    case 'linear':
      return { ropeTheta, ropeScaling: { kind, factor: rope.positive('factor') } };
    case 'llama3': {
      const ropeScaling = {
        kind,
        factor: rope.positive('factor'),
        lowFrequencyFactor: rope.positive('low_freq_factor'),
        highFrequencyFactor: rope.positive('high_freq_factor'),
        originalContextLength: rope.integer('original_max_position_embeddings', LIMITS.context),
      } as const;
      if (ropeScaling.highFrequencyFactor <= ropeScaling.lowFrequencyFactor) {
        throw rope.invalid(
          'high_freq_factor',
          `must be above low_freq_factor (${ropeScaling.lowFrequencyFactor})`,
        );
      }
      return { ropeTheta, ropeScaling };
    }
    default:
      throw fields.unsupported(
        where,
        `RoPE scaling ${JSON.stringify(kind)} is not supported`,
        'Use a model with RoPE scaling none, linear or llama3',
      );
  }
}

/**
 * @param source of the messages: the path of config.json
 * @throws DuobitError `CHECKPOINT_CONFIG_INVALID`, `CHECKPOINT_ARCHITECTURE_UNSUPPORTED`,
 * `CHECKPOINT_FEATURE_UNSUPPORTED`
 */
export function readConfig(config: JsonObject, source: string): Architecture {
  const fields = new Fields(new Map(Object.entries(config)), source);
  const family = readFamily(fields);
  refuseUnsupported(fields);
  const hiddenSize = fields.integer('hidden_size', LIMITS.width);
  const headCount = fields.integer('num_attention_heads', LIMITS.heads);
  if (!fields.has('head_dim') && hiddenSize % headCount !== 0) {
    throw fields.invalid(
      'num_attention_heads',
      `must divide hidden_size (${hiddenSize}) when head_dim is absent`,
    );
  }
  const mistral = family === 'mistral';
  // An absent window is 4096 in transformers' MistralConfig; null is no window.
  const window = mistral && !('sliding_window' in config) ? 4096 : (config.sliding_window ?? null);
  const architecture: Architecture = {
    family,
    vocabularySize: fields.integer('vocab_size', LIMITS.vocabulary),
    hiddenSize,
    intermediateSize: fields.integer('intermediate_size', LIMITS.width),
    blockCount: fields.integer('num_hidden_layers', LIMITS.blocks),
    headCount,
    kvHeadCount: fields.integer('num_key_value_heads', LIMITS.heads, mistral ? 8 : headCount),
    headSize: fields.integer('head_dim', LIMITS.width, Math.floor(hiddenSize / headCount)),
    contextLength: fields.integer('max_position_embeddings', LIMITS.context),
    normEpsilon: fields.positive('rms_norm_eps', 1e-6),
    ...readRope(fields),
    slidingWindow: mistral && window !== null ? fields.integer('sliding_window', LIMITS.context, 4096) : null,
    tiedHead: fields.boolean('tie_word_embeddings', false),
  };
  checkHeads(architecture, fields, 'num_key_value_heads');
  return architecture;
}
