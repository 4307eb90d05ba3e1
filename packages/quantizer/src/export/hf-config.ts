// Architecture and special tokens -> config.json and generation_config.json, the inverse of what the checkpoint
// reader does with them.
import type { Architecture, RopeScaling, SpecialTokens } from '@duobit/format';
import { formatPythonJson, type PythonJson, Real } from './python-json.ts';
import { type ExportDtype, TORCH_DTYPES } from './values.ts';

function describeRopeScaling(scaling: RopeScaling | null): PythonJson {
  if (scaling === null) return null;
  if (scaling.kind === 'linear') return { rope_type: 'linear', factor: new Real(scaling.factor) };
  return {
    rope_type: 'llama3',
    factor: new Real(scaling.factor),
    low_freq_factor: new Real(scaling.lowFrequencyFactor),
    high_freq_factor: new Real(scaling.highFrequencyFactor),
    original_max_position_embeddings: scaling.originalContextLength,
  };
}

/** Absent ids are written as null: left out, LlamaConfig would put its own defaults, 1 and 2, in their place. */
function describeTokens({ bos, eos, pad }: SpecialTokens): { readonly [key: string]: PythonJson } {
  const [first, ...rest] = eos;
  return {
    bos_token_id: bos,
    eos_token_id: first === undefined ? null : rest.length === 0 ? first : eos,
    pad_token_id: pad,
  };
}

/**
 * config.json in the fields that every release of transformers reads: `rope_theta` and `rope_scaling` rather than
 * the `rope_parameters` of release 5, which takes both.
 */
export function formatConfig(
  architecture: Architecture,
  specialTokens: SpecialTokens,
  dtype: ExportDtype,
): string {
  // A window is what sets the Mistral class apart; LlamaForCausalLM would ignore it and compute another model.
  const mistral = architecture.family === 'mistral' || architecture.slidingWindow !== null;
  return formatPythonJson({
    architectures: [mistral ? 'MistralForCausalLM' : 'LlamaForCausalLM'],
    model_type: mistral ? 'mistral' : 'llama',
    vocab_size: architecture.vocabularySize,
    hidden_size: architecture.hiddenSize,
    intermediate_size: architecture.intermediateSize,
    num_hidden_layers: architecture.blockCount,
    num_attention_heads: architecture.headCount,
    num_key_value_heads: architecture.kvHeadCount,
    head_dim: architecture.headSize,
    hidden_act: 'silu',
    max_position_embeddings: architecture.contextLength,
    rms_norm_eps: new Real(architecture.normEpsilon),
    rope_theta: new Real(architecture.ropeTheta),
    rope_scaling: describeRopeScaling(architecture.ropeScaling),
    tie_word_embeddings: architecture.tiedHead,
    torch_dtype: TORCH_DTYPES[dtype],
    attention_dropout: new Real(0),
    initializer_range: new Real(0.02),
    use_cache: true,
    ...describeTokens(specialTokens),
    // MistralConfig has no biases to switch off, and takes an absent window for 4096.
    ...(mistral
      ? { sliding_window: architecture.slidingWindow }
      : { attention_bias: false, mlp_bias: false }),
  });
}

/** For a model that carries no generation_config.json of its own. */
export function formatGenerationConfig(specialTokens: SpecialTokens): string {
  return formatPythonJson({ _from_model_config: true, ...describeTokens(specialTokens) });
}
