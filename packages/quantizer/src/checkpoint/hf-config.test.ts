// config.json -> Architecture: the variants of transformers 4 and 5, defaults, and refusals.
import type { Architecture } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { readConfig } from './hf-config.ts';
import { expectFailure } from './testing/rejects.ts';
import { ARCHITECTURE, CONFIG } from './testing/small-llama.ts';

const read = (changes: object): Architecture => readConfig({ ...CONFIG, ...changes }, 'config.json');
const refused = (changes: object, code: string, ...named: string[]) =>
  expectFailure(async () => read(changes), code, 'config.json', ...named);

const LLAMA3 = {
  factor: 32,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
const LLAMA3_SCALING = {
  kind: 'llama3',
  factor: 32,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContextLength: 8192,
};

describe('readConfig', () => {
  it('reads a plain Llama', () => {
    expect(read({})).toEqual(ARCHITECTURE);
  });

  it('goes by model_type when there is no class', () => {
    expect(read({ architectures: undefined }).family).toBe('llama');
    expect(read({ architectures: [], model_type: 'mistral' }).family).toBe('mistral');
  });

  it.each<[object, Partial<Architecture>]>([
    [{ num_key_value_heads: undefined }, { kvHeadCount: 4 }],
    [{ num_key_value_heads: null }, { kvHeadCount: 4 }],
    [{ head_dim: 16 }, { headSize: 16 }],
    [{ head_dim: null }, { headSize: 8 }],
    [{ rms_norm_eps: undefined }, { normEpsilon: 1e-6 }],
    [{ tie_word_embeddings: true }, { tiedHead: true }],
    [{ tie_word_embeddings: undefined }, { tiedHead: false }],
    [{ rope_theta: undefined }, { ropeTheta: 10_000 }],
    [{ rope_scaling: null }, { ropeScaling: null }],
    [{ sliding_window: 16 }, { slidingWindow: null }],
    [{ rope_scaling: { type: 'linear', factor: 4 } }, { ropeScaling: { kind: 'linear', factor: 4 } }],
    [
      { rope_scaling: { rope_type: 'llama3', ...LLAMA3 } },
      { ropeScaling: LLAMA3_SCALING } as Partial<Architecture>,
    ],
    [
      { rope_theta: undefined, rope_parameters: { rope_type: 'llama3', rope_theta: 500_000, ...LLAMA3 } },
      { ropeTheta: 500_000, ropeScaling: LLAMA3_SCALING } as Partial<Architecture>,
    ],
    [
      { rope_theta: undefined, rope_parameters: { rope_type: 'default', rope_theta: 50_000 } },
      { ropeTheta: 50_000, ropeScaling: null },
    ],
  ])('%j', (changes, expected) => {
    expect(read(changes)).toMatchObject(expected);
  });

  it('takes the sliding window of Mistral: its value, none for null, and 4096 when absent', () => {
    const mistral = { architectures: ['MistralForCausalLM'] };
    expect(read({ ...mistral, sliding_window: 16 }).slidingWindow).toBe(16);
    expect(read({ ...mistral, sliding_window: null }).slidingWindow).toBeNull();
    expect(read(mistral).slidingWindow).toBe(4096);
  });

  it('refuses other architectures and says which are supported', async () => {
    await refused(
      { architectures: ['Gemma3ForCausalLM'] },
      'CHECKPOINT_ARCHITECTURE_UNSUPPORTED',
      'Gemma3',
      'Mistral',
    );
    await refused({ architectures: ['constructor'] }, 'CHECKPOINT_ARCHITECTURE_UNSUPPORTED', 'constructor');
    await refused(
      { architectures: undefined, model_type: 'gpt2' },
      'CHECKPOINT_ARCHITECTURE_UNSUPPORTED',
      'gpt2',
    );
    await refused(
      { architectures: undefined, model_type: undefined },
      'CHECKPOINT_CONFIG_INVALID',
      'architectures',
    );
  });

  it.each<[object, string]>([
    [{ attention_bias: true }, 'attention_bias'],
    [{ mlp_bias: true }, 'mlp_bias'],
    [{ hidden_act: 'gelu' }, 'gelu'],
    [{ quantization_config: { bits: 4 } }, 'full-precision'],
    [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
    [{ rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } }, 'partial_rotary_factor'],
    [{ rope_scaling: { rope_type: 'yarn', factor: 4 } }, 'yarn'],
    [{ rope_scaling: { type: 'dynamic', factor: 2 } }, 'dynamic'],
  ])('does not support %j', async (changes, named) => {
    await refused(changes, 'CHECKPOINT_FEATURE_UNSUPPORTED', named);
  });

  it.each<[object, string]>([
    [{ hidden_size: undefined }, 'hidden_size must be a whole number from 1 to 1048576; it is missing'],
    [{ hidden_size: '32' }, 'it is "32"'],
    [{ hidden_size: 0 }, 'hidden_size'],
    [{ num_hidden_layers: 1e9 }, 'num_hidden_layers'],
    [{ vocab_size: 1.5 }, 'vocab_size'],
    [{ num_attention_heads: 5 }, 'num_attention_heads'],
    [{ num_key_value_heads: 3 }, 'multiple of key heads (3)'],
    [{ head_dim: 7 }, 'even size'],
    [{ rms_norm_eps: -1 }, 'rms_norm_eps'],
    [{ rope_theta: 'big' }, 'rope_theta'],
    [{ rope_scaling: [] }, 'rope_scaling'],
    [{ rope_scaling: { factor: 2 } }, 'rope_type'],
    [{ rope_scaling: { type: 'linear' } }, 'factor'],
    [{ rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'low_freq_factor'],
    [{ rope_scaling: { rope_type: 'llama3', ...LLAMA3, high_freq_factor: 1 } }, 'high_freq_factor'],
    [{ tie_word_embeddings: 'yes' }, 'tie_word_embeddings'],
  ])('refuses %j', async (changes, named) => {
    await refused(changes, 'CHECKPOINT_CONFIG_INVALID', named);
  });
});
