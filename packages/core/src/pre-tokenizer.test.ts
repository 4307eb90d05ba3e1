// Where JavaScript and Hugging Face's tokenizers do not mean the same by a space or a digit. What is expected here is what their
// library `tokenizers` 0.23 gives for the same tokenizer.json.
import { describe, expect, it } from 'vitest';
import { spellOutSplits } from './pre-tokenizer.ts';
import { createTokenizer } from './tokenizer.ts';

/** The characters of byte-level vocabularies, as GPT-2 defines them. */
const BYTES = Array.from({ length: 256 }, (_, byte) => byte);
const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
const HIDDEN = BYTES.filter((byte) => !isPrintable(byte));
const CHARACTERS = BYTES.map((byte) =>
  String.fromCharCode(isPrintable(byte) ? byte : 256 + HIDDEN.indexOf(byte)),
);
const MERGES = [
  ['Ġ', 'Â'],
  ['Â', '½'],
  ['Ġ', 'ï'],
  ['1', '2'],
] as const;
const TOKENS = [...CHARACTERS, ...MERGES.map((pair) => pair.join(''))];

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
const digits = (individual: boolean) => ({
  type: 'Sequence',
  pretokenizers: [{ type: 'Digits', individual_digits: individual }, BYTE_LEVEL],
});

async function pieces(rules: object, text: string): Promise<(string | undefined)[]> {
  const definition = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: rules,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(TOKENS.map((token, id) => [token, id])), merges: MERGES },
  };
  const tokenizer = await createTokenizer({
    name: 'test',
    specialTokens: { bos: null, eos: [], pad: null, addBos: false },
    readAsset: async (role) =>
      role === 'tokenizer' ? new TextEncoder().encode(JSON.stringify(definition)) : null,
  });
  return tokenizer.encode(text).map((id) => TOKENS[id]);
}

describe('spellOutSplits', () => {
  it.each([
    [BYTE_LEVEL, 'a \u0085b', ['a', 'Ġ', 'Â', 'ħ', 'b']],
    [BYTE_LEVEL, 'a \ufeffb', ['a', 'Ġï', '»', '¿', 'b']],
    [BYTE_LEVEL, "x 12 don't", ['x', 'Ġ', '12', 'Ġ', 'd', 'o', 'n', "'", 't']],
    [digits(true), '2 ½', ['2', 'Ġ', 'Â½']],
    [digits(true), '1 \u0661', ['1', 'Ġ', 'Ù', '¡']],
    [digits(true), '12', ['1', '2']],
    [digits(false), '12 ½', ['12', 'Ġ', 'Â½']],
  ])('%j splits %j as its definition has it', async (rules, text, expected) => {
    expect(await pieces(rules, text)).toEqual(expected);
  });

  it.each([
    null,
    [],
    'ByteLevel',
    { type: 'Metaspace', replacement: '\u2581' },
    { ...BYTE_LEVEL, use_regex: false },
    { ...BYTE_LEVEL, add_prefix_space: true },
    { type: 'Sequence', pretokenizers: 'none' },
  ])('leaves %j as it is', (rules) => {
    expect(spellOutSplits(rules)).toEqual(rules);
  });
});
