// Who decides about BOS, EOS and padding when several files speak.
import { describe, expect, it } from 'vitest';
import { readSpecialTokens, type TokenFiles } from './special-tokens.ts';
import { expectFailure } from './testing/rejects.ts';

const NONE: TokenFiles = { config: {}, generationConfig: null, tokenizer: null, tokenizerConfig: null };
const read = (files: Partial<TokenFiles>) => readSpecialTokens({ ...NONE, ...files }, 100, 'folder');

const template = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
};

describe('readSpecialTokens', () => {
  it('prefers generation_config.json over config.json, and takes numbers and lists', () => {
    expect(
      read({ config: { bos_token_id: 1, eos_token_id: 2 }, generationConfig: { eos_token_id: [5, 6, 5] } }),
    ).toEqual({ bos: 1, eos: [5, 6], pad: null, addBos: false });
    expect(read({ config: { eos_token_id: 0, pad_token_id: 3 } })).toMatchObject({
      bos: null,
      eos: [0],
      pad: 3,
    });
  });

  it('finds tokens that only tokenizer_config.json names', () => {
    const tokenizer = {
      added_tokens: [{ id: 9, content: '</s>' }],
      model: { vocab: { '<s>': 4, '</s>': 7 } },
    };
    const tokenizerConfig = { bos_token: '<s>', eos_token: { content: '</s>' }, pad_token: '<absent>' };
    expect(read({ tokenizer, tokenizerConfig })).toEqual({ bos: 4, eos: [9], pad: null, addBos: false });
  });

  it('adds BOS when the post-processor does, unless tokenizer_config.json says otherwise', () => {
    const config = { bos_token_id: 1 };
    const tokenizer = { post_processor: template };
    expect(read({ config, tokenizer }).addBos).toBe(true);
    const sequence = { post_processor: { type: 'Sequence', processors: [{ type: 'ByteLevel' }, template] } };
    expect(read({ config, tokenizer: sequence }).addBos).toBe(true);
    expect(read({ config, tokenizer, tokenizerConfig: { add_bos_token: false } }).addBos).toBe(false);
    expect(read({ config, tokenizer: {}, tokenizerConfig: { add_bos_token: true } }).addBos).toBe(true);
    expect(read({ config: { bos_token_id: 2 }, tokenizer }).addBos).toBe(false);
    expect(read({ config: {}, tokenizerConfig: { add_bos_token: true } }).addBos).toBe(false);
    expect(read({ config, tokenizer: { post_processor: { type: 'ByteLevel' } } }).addBos).toBe(false);
  });

  it('takes -1 as no padding token, as old configurations mean it', () => {
    expect(read({ config: { pad_token_id: -1 } }).pad).toBeNull();
  });

  it.each([
    [{ eos_token_id: 100 }, 'eos_token_id'],
    [{ eos_token_id: [2, '3'] }, '"3"'],
    [{ bos_token_id: -1 }, 'bos_token_id'],
    [{ bos_token_id: 1.5 }, '1.5'],
  ])('refuses %j', async (config, named) => {
    await expectFailure(async () => read({ config }), 'CHECKPOINT_CONFIG_INVALID', named, 'below 100');
  });
});
