// Tokenizers rebuilt from GGUF metadata, run through the same library and wrapper that run tokenizer.json files.
import { readFile } from 'node:fs/promises';
import { createTokenizer, type Tokenizer } from '@duobit/core';
import { createMemorySource } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { readGguf } from './gguf-checkpoint.ts';
import { readGgufHeader } from './gguf-header.ts';
import { buildTokenizerFiles } from './gguf-tokenizer.ts';
import { type GgufVocabulary, readGgufVocabulary } from './gguf-vocabulary.ts';
import { deriveMerges } from './spm-merges.ts';
import { type GgufField, writeGguf } from './testing/gguf-writer.ts';
import { expectFailure } from './testing/rejects.ts';
import { ARCHITECTURE, METADATA, makeTensors, toGguf } from './testing/small-llama.ts';

type Pairs = Record<string, GgufField>;

async function readVocabulary(pairs: Pairs): Promise<GgufVocabulary | null> {
  const metadata = Object.entries(pairs).map(([key, field]) => [`tokenizer.ggml.${key}`, field] as const);
  const header = await readGgufHeader(createMemorySource(writeGguf({ metadata }), 'm.gguf'));
  return readGgufVocabulary(header.metadata, 'm.gguf');
}

async function build(
  pairs: Pairs,
): Promise<Tokenizer & { files: { tokenizer: string; tokenizerConfig: string } }> {
  const vocabulary = await readVocabulary(pairs);
  if (vocabulary === null) throw new Error('no vocabulary');
  const files = buildTokenizerFiles(vocabulary);
  const assets = new Map([
    ['tokenizer', files.tokenizer],
    ['tokenizer-config', files.tokenizerConfig],
  ]);
  const tokenizer = await createTokenizer({
    name: 'm.gguf',
    specialTokens: vocabulary.special,
    readAsset: async (role) => {
      const text = assets.get(role);
      return text === undefined ? null : new TextEncoder().encode(text);
    },
  });
  return Object.assign(tokenizer, { files });
}

const text = (value: string): GgufField => ({ type: 'string', value });
const strings = (value: readonly string[]): GgufField => ({ type: 'strings', value });
const numbers = (value: readonly number[]): GgufField => ({ type: 'i32s', value });
const id = (value: number): GgufField => ({ type: 'u32', value });
const flag = (value: boolean): GgufField => ({ type: 'bool', value });

/** GPT-2's 256 byte characters: printable bytes as themselves, the others from U+0100 on. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
}

const BYTES = byteCharacters();
const MERGES = ['t h', 'th e', 'Ġ the', '1 2', '12 3', "' s", 'Ġ a', '! Ċ', 'Ċ Ċ', 'Ġ Ġ'];
const CONTROL = ['<|begin|>', '<|im_end|>'];
const USER = ['<tool>'];

function byteLevel(pre: string | null, changes: Pairs = {}): Pairs {
  const tokens = [...BYTES, ...MERGES.map((merge) => merge.replace(' ', '')), ...CONTROL, ...USER];
  const types = tokens.map((token) => (CONTROL.includes(token) ? 3 : USER.includes(token) ? 4 : 1));
  return {
    model: text('gpt2'),
    ...(pre === null ? {} : { pre: text(pre) }),
    tokens: strings(tokens),
    token_type: numbers(types),
    merges: strings(MERGES),
    bos_token_id: id(tokens.indexOf('<|begin|>')),
    eos_token_id: id(tokens.indexOf('<|im_end|>')),
    ...changes,
  };
}

/** Token texts of an encoding. */
async function pieces(tokenizer: Tokenizer, input: string): Promise<string[]> {
  return tokenizer.encode(input, { bos: false }).map((token) => tokenizer.decode([token], { special: true }));
}

describe('byte-level tokenizers', () => {
  it.each<[string | null, string, string[]]>([
    ['gpt-2', 'the the', ['the', ' the']],
    ['gpt-2', 'a123 1234', ['a', '123', ' ', '123', '4']],
    ['gpt-2', "it's the", ['i', 't', "'s", ' the']],
    ['gpt-2', "IT'S", ['I', 'T', "'", 'S']],
    ['gpt-2', '!\n\n', ['!', '\n\n']],
    ['default', 'a123', ['a', '123']],
    [null, 'a123', ['a', '123']],
    ['smollm', 'a123 the', ['a', '1', '2', '3', ' the']],
    ['smollm', '1 2', ['1', ' ', '2']],
    ['llama-bpe', 'a12312 1234', ['a', '123', '12', ' ', '123', '4']],
    ['llama-bpe', '!\n\n', ['!\n', '\n']],
    ['llama-bpe', '   the', ['  ', ' the']],
    ['llama3', '123', ['123']],
    ['qwen2', '123 12', ['1', '2', '3', ' ', '1', '2']],
    ['qwen2', '!\n\n', ['!\n', '\n']],
  ])('%s splits %j', async (pre, input, expected) => {
    expect(await pieces(await build(byteLevel(pre)), input)).toEqual(expected);
  });

  it.each(['gpt-2', 'smollm', 'llama-bpe', 'qwen2'])('%s gives every text back', async (pre) => {
    const tokenizer = await build(byteLevel(pre));
    for (const input of [
      ' leading',
      'tabs\tand\r\nlines\n',
      'grüße, 世界 🦊',
      'a  b   c',
      '\u0000\u007f',
      "don't",
    ]) {
      expect(tokenizer.decode(tokenizer.encode(input, { bos: false }))).toBe(input);
    }
  });

  it('composes characters for qwen2 only', async () => {
    const decomposed = 'e\u0301';
    const roundTrip = async (pre: string) => {
      const tokenizer = await build(byteLevel(pre));
      return tokenizer.decode(tokenizer.encode(decomposed, { bos: false }));
    };
    expect(await roundTrip('qwen2')).toBe('\u00e9');
    expect(await roundTrip('gpt-2')).toBe(decomposed);
  });

  it('takes a word that is a token whole for Llama 3, merges or not', async () => {
    const base = byteLevel('x');
    if (base.tokens?.type !== 'strings' || base.token_type?.type !== 'i32s') throw new Error('not reached');
    const more = {
      tokens: strings([...base.tokens.value, 'fox']),
      token_type: numbers([...base.token_type.value, 1]),
    };
    expect(await pieces(await build({ ...byteLevel('llama-bpe'), ...more }), 'fox')).toEqual(['fox']);
    expect(await pieces(await build({ ...byteLevel('gpt-2'), ...more }), 'fox')).toEqual(['f', 'o', 'x']);
  });

  it('knows control and user-defined tokens in text, and drops only control tokens from decoded text', async () => {
    const tokenizer = await build(byteLevel('gpt-2'));
    const ids = tokenizer.encode('the<tool><|im_end|>', { bos: false });
    expect(ids).toHaveLength(3);
    expect(tokenizer.decode(ids)).toBe('the<tool>');
    expect(tokenizer.decode(ids, { special: true })).toBe('the<tool><|im_end|>');
  });

  it.each<[string, Pairs, boolean]>([
    ['gpt-2', {}, false],
    ['llama-bpe', {}, true],
    ['llama-bpe', { add_bos_token: flag(false) }, false],
    ['gpt-2', { add_bos_token: flag(true) }, true],
    ['gpt-2', { add_bos_token: flag(true), bos_token_id: id(2 ** 32 - 1) }, false],
  ])('%s with %j: BOS %s', async (pre, changes, expected) => {
    const tokenizer = await build(byteLevel(pre, changes));
    const bos = BYTES.length + MERGES.length;
    expect(tokenizer.encode('a')[0] === bos).toBe(expected);
    const { post_processor: processor } = JSON.parse(tokenizer.files.tokenizer);
    expect(processor?.type).toBe(expected ? 'TemplateProcessing' : undefined);
  });

  it('ends generation on eos, eot and control tokens that end a turn', async () => {
    const vocabulary = await readVocabulary(byteLevel('gpt-2', { eos_token_id: id(5), eot_token_id: id(7) }));
    expect(vocabulary?.special.eos).toEqual([5, 7, BYTES.length + MERGES.length + 1]);
    const files = buildTokenizerFiles(
      (await readVocabulary(byteLevel('gpt-2', { add_eos_token: flag(true) })))!,
    );
    expect(JSON.parse(files.tokenizer).post_processor.single.at(-1)).toMatchObject({
      SpecialToken: { id: '<|im_end|>' },
    });
  });

  it('keeps a token named __proto__', async () => {
    const base = byteLevel('gpt-2');
    if (base.tokens?.type !== 'strings' || base.token_type?.type !== 'i32s') throw new Error('not reached');
    const { tokenizer } = buildTokenizerFiles(
      (await readVocabulary({
        ...base,
        tokens: strings([...base.tokens.value, '__proto__']),
        token_type: numbers([...base.token_type.value, 1]),
      }))!,
    );
    const { vocab } = JSON.parse(tokenizer).model;
    expect(Object.getOwnPropertyDescriptor(vocab, '__proto__')?.value).toBe(base.tokens.value.length);
  });

  it.each<[Pairs, string, string]>([
    [byteLevel('tekken'), 'GGUF_TOKENIZER_UNSUPPORTED', '"tekken"'],
    [byteLevel('toString'), 'GGUF_TOKENIZER_UNSUPPORTED', 'toString'],
    [{ model: text('bert') }, 'GGUF_TOKENIZER_UNSUPPORTED', 'bert'],
    [{ model: text('gpt2') }, 'GGUF_TOKENIZER_INVALID', 'no tokens'],
    [byteLevel('gpt-2', { tokens: strings([]) }), 'GGUF_TOKENIZER_INVALID', 'no tokens'],
    [byteLevel('gpt-2', { tokens: numbers([1, 2]) }), 'GGUF_TOKENIZER_INVALID', 'wrong type'],
    [byteLevel('gpt-2', { tokens: strings(['a', 'b', 'a']) }), 'GGUF_TOKENIZER_INVALID', 'tokens 0 and 2'],
    [byteLevel('gpt-2', { token_type: numbers([1]) }), 'GGUF_TOKENIZER_INVALID', '1 items'],
    [byteLevel('gpt-2', { merges: strings(['a b']) }), 'GGUF_TOKENIZER_INVALID', 'merge 0'],
    [byteLevel('gpt-2', { merges: strings(['th e', 'the']) }), 'GGUF_TOKENIZER_INVALID', 'merge 1'],
    [byteLevel('gpt-2', { merges: numbers([1]) }), 'GGUF_TOKENIZER_INVALID', 'wrong type'],
    [byteLevel('gpt-2', { bos_token_id: id(9999) }), 'CHECKPOINT_CONFIG_INVALID', '9999'],
  ])('refuses %# as %s', async (pairs, code, named) => {
    await expectFailure(() => build(pairs), code, 'm.gguf', named);
  });

  it('needs merges, and takes no tokenizer for none', async () => {
    const { merges: _merges, ...rest } = byteLevel('gpt-2');
    await expectFailure(() => build(rest), 'GGUF_TOKENIZER_INVALID', 'merges');
    expect(await readVocabulary({})).toBeNull();
    expect(await readVocabulary({ model: text('none') })).toBeNull();
  });
});

describe('SentencePiece tokenizers', () => {
  it('derives merges from scores, best piece first, cuts by the ids of their parts', () => {
    const tokens = ['<unk>', 'a', 'b', 'c', 'ab', 'bc', 'abc', '<0x61>', 'x', 'ax', '🦊', '🦊a'];
    const types = [2, 1, 1, 1, 1, 1, 1, 6, 5, 1, 1, 1];
    const scores = [0, -9, -9, -9, -3, -2, -1, 0, -9, -4, -9, -5];
    expect(deriveMerges(tokens, types, scores)).toEqual([
      ['a', 'bc'],
      ['ab', 'c'],
      ['b', 'c'],
      ['a', 'b'],
      ['🦊', 'a'],
    ]);
  });

  const story = new URL('../../../../fixtures/stories/heldout.txt', import.meta.url);
  const original = new URL('../../../../fixtures/tinystories-656k/tokenizer.json', import.meta.url);

  /** The vocabulary of the TinyStories tokenizer as a GGUF converter would write it: scores, no merges. */
  async function tinyStories(changes: Pairs = {}): Promise<Pairs> {
    const { model } = JSON.parse(await readFile(original, 'utf8')) as {
      model: { vocab: Record<string, number> };
    };
    const tokens: string[] = [];
    for (const [token, index] of Object.entries(model.vocab)) tokens[index] = token;
    const types = tokens.map((token, i) =>
      i === 0 ? 2 : i < 3 ? 3 : /^<0x[0-9A-F]{2}>$/.test(token) ? 6 : 1,
    );
    return {
      model: text('llama'),
      tokens: strings(tokens),
      token_type: numbers(types),
      scores: { type: 'f32s', value: tokens.map((_, i) => -i) },
      bos_token_id: id(1),
      eos_token_id: id(2),
      unknown_token_id: id(0),
      ...changes,
    };
  }

  it('encode and decode like the tokenizer.json that the vocabulary came from', async () => {
    const rebuilt = await build(await tinyStories());
    const reference = await createTokenizer({
      name: 'original',
      specialTokens: { bos: 1, eos: [2], pad: null, addBos: true },
      readAsset: async (role) => (role === 'tokenizer' ? new Uint8Array(await readFile(original)) : null),
    });
    const stories = await readFile(story, 'utf8');
    for (const input of [...stories.split('\n'), 'grüße 🦊', ' two  spaces', 'a\tb']) {
      expect(rebuilt.encode(input)).toEqual(reference.encode(input));
      const ids = rebuilt.encode(input);
      expect(rebuilt.decode(ids)).toBe(reference.decode(ids));
    }
  });

  it('write characters that the vocabulary lacks as bytes', async () => {
    const bytes = Array.from(
      { length: 256 },
      (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`,
    );
    const tokens = ['<unk>', '<s>', '</s>', ...bytes, '\u2581', 'a', '\u2581a'];
    const tokenizer = await build({
      model: text('llama'),
      tokens: strings(tokens),
      token_type: numbers([2, 3, 3, ...bytes.map(() => 6), 1, 1, 1]),
      scores: { type: 'f32s', value: tokens.map((_, i) => -i) },
      bos_token_id: id(1),
      unknown_token_id: id(0),
    });
    const byte = (value: number) => 3 + value;
    expect(tokenizer.encode('aé a')).toEqual([
      1,
      tokens.length - 1,
      byte(0xc3),
      byte(0xa9),
      tokens.length - 1,
    ]);
    for (const input of ['aé a', '世界 🦊', ' a  a\n', '\u0000']) {
      expect(tokenizer.decode(tokenizer.encode(input))).toBe(input);
    }
  });

  it('add a leading space, or not when the file says so', async () => {
    const spaced = await build(await tinyStories());
    const plain = await build(await tinyStories({ add_space_prefix: flag(false) }));
    const first = (tokenizer: Tokenizer) => tokenizer.encode('zebra', { bos: false }).length;
    expect(JSON.parse(spaced.files.tokenizer).normalizer.normalizers[0].type).toBe('Prepend');
    expect(JSON.parse(plain.files.tokenizer).normalizer.type).toBe('Replace');
    expect(first(plain)).toBeLessThan(first(spaced));
    expect(plain.decode(plain.encode('zebra', { bos: false }))).toBe('zebra');
    expect(plain.decode(plain.encode(' zebra', { bos: false }))).toBe(' zebra');
  });

  it('need scores', async () => {
    const { scores: _scores, ...rest } = await tinyStories();
    await expectFailure(() => build(rest), 'GGUF_TOKENIZER_INVALID', 'scores');
  });
});

describe('a GGUF checkpoint with a tokenizer', () => {
  const open = (pairs: Pairs, template?: string) => {
    const metadata = [
      ...METADATA,
      ...Object.entries(pairs).map(([key, field]) => [`tokenizer.ggml.${key}`, field] as const),
      ...(template === undefined ? [] : [['tokenizer.chat_template', text(template)] as const]),
    ];
    const tensors = makeTensors().map((tensor) => toGguf(tensor));
    return readGguf(createMemorySource(writeGguf({ metadata, tensors }), 'm.gguf'), 'm.gguf');
  };
  const small: Pairs = {
    model: text('gpt2'),
    pre: text('gpt-2'),
    tokens: strings(['<s>', '</s>', 'a', 'b', 'ab']),
    token_type: numbers([3, 3, 1, 1, 1]),
    merges: strings(['a b']),
    bos_token_id: id(0),
    eos_token_id: id(1),
    add_bos_token: flag(true),
  };

  it('carries tokenizer, template and special tokens', async () => {
    const checkpoint = await open(small, "{{ bos_token }}{{ messages[0]['content'] }}");
    expect(checkpoint.specialTokens).toEqual({ bos: 0, eos: [1], pad: null, addBos: true });
    const tokenizer = await createTokenizer(checkpoint);
    expect(tokenizer.encode('abb')).toEqual([0, 4, 3]);
    expect(tokenizer.applyChatTemplate([{ role: 'user', content: 'ab' }])).toBe('<s>ab');
    expect(await checkpoint.readAsset('license')).toBeNull();
  });

  it('has no more tokens than the embedding has rows', async () => {
    const tokens = strings(['<s>', '</s>', 'a', 'b', 'ab', 'c', 'd']);
    expect(ARCHITECTURE.vocabularySize).toBe(6);
    const pairs = { ...small, tokens, token_type: numbers([3, 3, 1, 1, 1, 1, 1]) };
    await expectFailure(() => open(pairs), 'GGUF_TOKENIZER_INVALID', '7 tokens', '6 rows');
  });
});
