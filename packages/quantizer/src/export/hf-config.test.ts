// What is written must be read back as the same model, and typed as Python's configuration classes demand.
import type { Architecture, SpecialTokens } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../checkpoint/hf-config.ts';
import { readSpecialTokens } from '../checkpoint/special-tokens.ts';
import { isObject } from '../checkpoint/strict-json.ts';
import { ARCHITECTURE } from '../checkpoint/testing/small-llama.ts';
import { formatConfig, formatGenerationConfig } from './hf-config.ts';
import { formatPythonJson, Real } from './python-json.ts';

const positive = fc.double({ min: Number.MIN_VALUE, max: 1e9, noNaN: true });
const size = (max: number) => fc.integer({ min: 1, max });

const architectures: fc.Arbitrary<Architecture> = fc
  .record({
    family: fc.constantFrom('llama' as const, 'mistral' as const),
    vocabularySize: size(200_000),
    hiddenSize: size(2 ** 20),
    intermediateSize: size(2 ** 20),
    blockCount: size(4096),
    kvHeadCount: size(64),
    queriesPerHead: size(16),
    halfHead: size(512),
    contextLength: size(2 ** 31 - 1),
    normEpsilon: positive,
    ropeTheta: positive,
    ropeScaling: fc.oneof(
      fc.constant(null),
      fc.record({ kind: fc.constant('linear' as const), factor: positive }),
      fc.record({
        kind: fc.constant('llama3' as const),
        factor: positive,
        lowFrequencyFactor: fc.double({ min: 0.5, max: 1, noNaN: true }),
        highFrequencyFactor: fc.double({ min: 1.5, max: 8, noNaN: true }),
        originalContextLength: size(2 ** 31 - 1),
      }),
    ),
    slidingWindow: fc.option(size(2 ** 31 - 1), { nil: null }),
    tiedHead: fc.boolean(),
  })
  .map(({ queriesPerHead, halfHead, ...rest }) => ({
    ...rest,
    headCount: rest.kvHeadCount * queriesPerHead,
    headSize: 2 * halfHead,
    slidingWindow: rest.family === 'mistral' ? rest.slidingWindow : null,
  }));

const tokens: fc.Arbitrary<SpecialTokens> = fc.record({
  bos: fc.option(fc.nat(99), { nil: null }),
  eos: fc.uniqueArray(fc.nat(99), { maxLength: 4 }),
  pad: fc.option(fc.nat(99), { nil: null }),
  addBos: fc.constant(false),
});

function parse(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new Error('not an object');
  return value;
}

const NO_TOKENS: SpecialTokens = { bos: null, eos: [], pad: null, addBos: false };

describe('config.json', () => {
  it('is read back as the same architecture', () => {
    fc.assert(
      fc.property(architectures, (architecture) => {
        expect(readConfig(parse(formatConfig(architecture, NO_TOKENS, 'f32')), 'config.json')).toEqual(
          architecture,
        );
      }),
    );
  });

  it('and generation_config.json alone are read back as the same special tokens', () => {
    fc.assert(
      fc.property(tokens, (special) => {
        const rest = { tokenizer: null, tokenizerConfig: null };
        const config = parse(formatConfig(ARCHITECTURE, special, 'f32'));
        expect(readSpecialTokens({ config, generationConfig: null, ...rest }, 100, 'x')).toEqual(special);
        const generationConfig = parse(formatGenerationConfig(special));
        expect(readSpecialTokens({ config: {}, generationConfig, ...rest }, 100, 'x')).toEqual(special);
      }),
    );
  });

  it('names class, type and dtype', () => {
    const read = (changes: Partial<Architecture>, dtype: 'f32' | 'f16' | 'bf16') =>
      parse(formatConfig({ ...ARCHITECTURE, ...changes }, NO_TOKENS, dtype));
    expect(read({}, 'f32')).toMatchObject({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      torch_dtype: 'float32',
      attention_bias: false,
    });
    expect(read({}, 'f32')).not.toHaveProperty('sliding_window');
    expect(read({ family: 'mistral' }, 'bf16')).toMatchObject({
      architectures: ['MistralForCausalLM'],
      model_type: 'mistral',
      torch_dtype: 'bfloat16',
      sliding_window: null,
    });
    // LlamaForCausalLM would attend to everything.
    expect(read({ slidingWindow: 64 }, 'f16')).toMatchObject({
      architectures: ['MistralForCausalLM'],
      sliding_window: 64,
      torch_dtype: 'float16',
    });
  });

  it('writes null for tokens that the model does not have', () => {
    const config = parse(formatConfig(ARCHITECTURE, NO_TOKENS, 'f32'));
    expect(config).toMatchObject({ bos_token_id: null, eos_token_id: null, pad_token_id: null });
  });

  it('writes real numbers as such, and whole ones as such', () => {
    const scaling = {
      kind: 'llama3',
      factor: 32,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    } as const;
    const text = formatConfig(
      { ...ARCHITECTURE, ropeTheta: 500_000, ropeScaling: scaling },
      NO_TOKENS,
      'f32',
    );
    expect(text).toContain('"rope_theta": 500000.0,');
    expect(text).toContain('"factor": 32.0,');
    expect(text).toContain('"low_freq_factor": 1.0,');
    expect(text).toContain('"original_max_position_embeddings": 8192,');
    expect(text).toContain('"hidden_size": 32,');
  });
});

describe('formatPythonJson', () => {
  it('is JSON of the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value));
        expect(JSON.parse(formatPythonJson(JSON.parse(JSON.stringify(value))))).toEqual(plain);
      }),
    );
  });

  it('gives every real number a point or an exponent, and its value', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger()),
        (value) => {
          const text = formatPythonJson(new Real(value)).trimEnd();
          expect(text).toMatch(/[.e]/);
          // JSON has no sign for zero here: -0 is 0.
          expect(JSON.parse(text) + 0).toBe(value + 0);
        },
      ),
    );
  });
});
