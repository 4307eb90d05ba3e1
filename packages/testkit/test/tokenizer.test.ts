// Tokenizer, stream decoder and chat template on two kinds of tokenizer: byte-level BPE (the toy one) and SentencePiece-like
// BPE with byte fallback (the embedded checkpoint's).
import { readFileSync } from 'node:fs';
import { createTokenizer, type Tokenizer } from '@duobit/core';
import { type AssetRole, DuobitError, type SpecialTokens } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TOY_SPECIAL_TOKENS, TOY_TOKENS, toyTokenizer, toyTokenizerConfig } from '../src/toy-tokenizer.ts';

type Assets = Partial<Record<AssetRole, unknown>>;

function open(assets: Assets, specialTokens: SpecialTokens = TOY_SPECIAL_TOKENS): Promise<Tokenizer> {
  const encode = (value: unknown) =>
    new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
  return createTokenizer({
    name: 'test model',
    specialTokens,
    readAsset: async (role) => (assets[role] === undefined ? null : encode(assets[role])),
  });
}

const toy = (): Assets => ({ tokenizer: toyTokenizer(), 'tokenizer-config': toyTokenizerConfig() });

const fixture = (name: string) =>
  readFileSync(new URL(`../../../fixtures/tinystories-656k/${name}`, import.meta.url), 'utf8');
const stories = () =>
  open(
    { tokenizer: fixture('tokenizer.json'), 'tokenizer-config': fixture('tokenizer_config.json') },
    { bos: 1, eos: [2], pad: 0, addBos: true },
  );

/** The library's SentencePiece-like tokenizer with all 256 byte tokens, which the embedded checkpoint's lacks. */
function byteFallback(): Promise<Tokenizer> {
  const definition = JSON.parse(fixture('tokenizer.json'));
  const words = ['▁', 'a', 'b', '▁a', '▁b', 'é'];
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const vocabulary = ['<unk>', '<|start_story|>', '<|end_story|>', ...bytes, ...words];
  definition.model.vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]));
  definition.model.merges = [
    ['▁', 'a'],
    ['▁', 'b'],
  ];
  return open({ tokenizer: definition }, { bos: 1, eos: [2], pad: 0, addBos: true });
}

async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (error instanceof DuobitError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'none';
}

function streamed(tokenizer: Tokenizer, tokens: readonly number[], special = false): string {
  const decoder = tokenizer.createStreamDecoder({ special });
  return tokens.map((token) => decoder.push(token)).join('') + decoder.flush();
}

describe('encode', () => {
  it('begins with BOS as the special tokens say, or as asked', async () => {
    const tokenizer = await open(toy());
    expect(tokenizer.encode('hi')).toEqual([TOY_TOKENS.bos, 104, 105]);
    expect(tokenizer.encode('hi', { bos: false })).toEqual([104, 105]);
    expect(tokenizer.encode('')).toEqual([TOY_TOKENS.bos]);
    const bare = await open(toy(), { ...TOY_SPECIAL_TOKENS, addBos: false });
    expect(bare.encode('hi')).toEqual([104, 105]);
    expect(bare.encode('hi', { bos: true })).toEqual([TOY_TOKENS.bos, 104, 105]);
    const none = await open(toy(), { ...TOY_SPECIAL_TOKENS, bos: null });
    expect(none.encode('hi', { bos: true })).toEqual([104, 105]);
  });

  it('never doubles BOS, also where the library would add its own', async () => {
    expect((await open(toy())).encode('<|bos|>hi')).toEqual([TOY_TOKENS.bos, 104, 105]);
    const tokenizer = await stories();
    const ids = tokenizer.encode('Once upon a time');
    expect(ids.filter((id) => id === 1)).toEqual([1]);
    expect(tokenizer.encode('<|start_story|>Once upon a time').filter((id) => id === 1)).toEqual([1]);
    expect(tokenizer.decode(ids)).toBe('Once upon a time');
  });
});

describe('decode', () => {
  it('leaves special tokens out unless asked, and ids without a text always', async () => {
    const tokenizer = await open(toy());
    const tokens = [TOY_TOKENS.bos, 104, 5000, 105, TOY_TOKENS.eos];
    expect(tokenizer.decode(tokens)).toBe('hi');
    expect(tokenizer.decode(tokens, { special: true })).toBe('<|bos|>hi<|eos|>');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.vocabularySize).toBe(260);
  });

  it('keeps spaces before punctuation', async () => {
    const { clean_up_tokenization_spaces: _, ...config } = toyTokenizerConfig();
    const tokenizer = await open({ tokenizer: toyTokenizer(), 'tokenizer-config': config });
    expect(tokenizer.decode(tokenizer.encode("a . b , I 'm"))).toBe("a . b , I 'm");
  });

  it('gives back any text that went in', async () => {
    const tokenizer = await open(toy());
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!text.includes('<|'));
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

describe('stream decoder', () => {
  const tokenizers = { 'byte-level': () => open(toy()), 'byte fallback': byteFallback, stories };
  for (const [name, make] of Object.entries(tokenizers))
    it(`joins to the decoded text for any tokens, ${name}`, async () => {
      const tokenizer = await make();
      const id = fc.nat(Math.min(tokenizer.vocabularySize + 3, 700));
      fc.assert(
        fc.property(fc.array(id, { maxLength: 80 }), fc.boolean(), (tokens, special) => {
          expect(streamed(tokenizer, tokens, special)).toBe(tokenizer.decode(tokens, { special }));
        }),
        { seed: 2, numRuns: 200 },
      );
    });

  it('never gives half a character of a text', async () => {
    for (const tokenizer of [await open(toy()), await byteFallback()])
      fc.assert(
        fc.property(fc.string({ unit: fc.constantFrom('a', ' ', 'b', 'é', '😀', '漢') }), (text) => {
          const decoder = tokenizer.createStreamDecoder();
          const pieces = tokenizer.encode(text).map((token) => decoder.push(token));
          expect(pieces.join('')).not.toContain('\uFFFD');
          for (const piece of pieces) expect(() => encodeURIComponent(piece)).not.toThrow(); // no lone surrogate
          expect(pieces.join('') + decoder.flush()).toBe(text);
        }),
        { seed: 3, numRuns: 300 },
      );
  });

  it('drops the leading space of the text and keeps all others', async () => {
    const tokenizer = await byteFallback();
    const decoder = tokenizer.createStreamDecoder();
    const tokens = tokenizer.encode('a b a', { bos: false });
    expect(tokens.map((token) => decoder.push(token))).toEqual(['a', ' b', ' a']);
  });
});

describe('chat template', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hi "you" <b>' },
  ];
  const rendered = '<|bos|><|turn|>system\nBe brief.<|end|>\n<|turn|>user\nHi "you" <b><|end|>\n';

  it('comes from the tokenizer configuration, with its special tokens', async () => {
    const tokenizer = await open(toy());
    expect(tokenizer.hasChatTemplate).toBe(true);
    expect(tokenizer.applyChatTemplate(messages)).toBe(`${rendered}<|turn|>assistant\n`);
    expect(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: false })).toBe(rendered);
    const ids = tokenizer.encode(tokenizer.applyChatTemplate(messages));
    expect(ids.filter((id) => id === TOY_TOKENS.bos)).toHaveLength(1);
    expect(ids.filter((id) => id === TOY_TOKENS.turn)).toHaveLength(3);
  });

  it('takes the asset before the configuration, and the default of several named ones', async () => {
    const asset = await open({ ...toy(), 'chat-template': '{{ eos_token }}{{ messages[0].content }}' });
    expect(asset.applyChatTemplate(messages)).toBe('<|eos|>Be brief.');
    const named = {
      ...toyTokenizerConfig(),
      chat_template: [
        { name: 'tool_use', template: 'tools' },
        { name: 'default', template: '{{ bos_token }}chat' },
      ],
    };
    const tokenizer = await open({ tokenizer: toyTokenizer(), 'tokenizer-config': named });
    expect(tokenizer.applyChatTemplate(messages)).toBe('<|bos|>chat');
  });

  it('knows BOS and EOS from their ids without a configuration', async () => {
    const tokenizer = await open({
      tokenizer: toyTokenizer(),
      'chat-template': '{{ bos_token }}{{ eos_token }}',
    });
    expect(tokenizer.applyChatTemplate([])).toBe('<|bos|><|eos|>');
  });

  it('passes on what the template refuses, and says when there is none or a broken one', async () => {
    const tokenizer = await open(toy());
    expect(await codeOf(() => tokenizer.applyChatTemplate([{ role: 'robot', content: '' }]))).toMatch(
      /^CHAT_TEMPLATE_FAILED: .*unknown role robot/,
    );
    const none = await open({ tokenizer: toyTokenizer() });
    expect(none.hasChatTemplate).toBe(false);
    expect(await codeOf(() => none.applyChatTemplate(messages))).toMatch(/^CHAT_TEMPLATE_MISSING/);
    const broken = await open({ tokenizer: toyTokenizer(), 'chat-template': '{% if %}' });
    expect(await codeOf(() => broken.applyChatTemplate(messages))).toMatch(/^CHAT_TEMPLATE_INVALID/);
  });
});

describe('broken tokenizers', () => {
  it('are refused with what is wrong', async () => {
    expect(await codeOf(() => open({}))).toMatch(/^TOKENIZER_MISSING/);
    expect(await codeOf(() => open({ tokenizer: '{"model":' }))).toMatch(/^TOKENIZER_INVALID: .*not JSON/);
    expect(await codeOf(() => open({ tokenizer: [] }))).toMatch(/^TOKENIZER_INVALID: .*not a JSON object/);
    expect(await codeOf(() => open({ tokenizer: {} }))).toMatch(/^TOKENIZER_INVALID/);
    expect(
      await codeOf(() => open({ tokenizer: { ...toyTokenizer(), model: { type: 'Nothing' } } })),
    ).toMatch(/^TOKENIZER_INVALID/);
    expect(await codeOf(() => open({ tokenizer: toyTokenizer(), 'tokenizer-config': '[]' }))).toMatch(
      /^TOKENIZER_INVALID: tokenizer_config/,
    );
  });
});
