// Bytes of single tokens, for vocabularies of both kinds: what a text's tokens write, joined, is the text.
import { readFile } from 'node:fs/promises';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { readTokenBytes } from './token-bytes.ts';
import { createTokenizer, type Tokenizer } from './tokenizer.ts';

const FIXTURE = new URL('../../../fixtures/tinystories-656k/', import.meta.url);
const join = (tokenizer: Tokenizer, tokens: readonly number[]): string =>
  new TextDecoder('utf-8', { fatal: true }).decode(
    Uint8Array.from(tokens.flatMap((token) => [...tokenizer.tokenBytes(token)])),
  );

describe('bytes of tokens', () => {
  it('are those of a byte-level vocabulary', async () => {
    const tokenizer = await createTokenizer(makeTinyModel());
    const text = 'Größe 😀\n\t"{x}"\u00ad\u0000\u007f';
    const tokens = tokenizer.encode(text, { bos: false });
    expect(tokens.length).toBeGreaterThan(text.length);
    expect(join(tokenizer, tokens)).toBe(text);
    expect(new TextDecoder().decode(tokenizer.tokenBytes(256))).toBe('<|bos|>');
    expect([256, 72, 5000].map((token) => tokenizer.isSilent(token))).toEqual([true, false, true]);
    expect(tokenizer.tokenBytes(5000)).toHaveLength(0);
  });

  it('are those of a SentencePiece vocabulary, spaces included', async () => {
    const tokenizer = await createTokenizer({
      name: 'embedded',
      specialTokens: { bos: 1, eos: [2], pad: null, addBos: true },
      readAsset: async (role) =>
        role === 'tokenizer' ? new Uint8Array(await readFile(new URL('tokenizer.json', FIXTURE))) : null,
    });
    const text = 'Once upon a time, there was a dog.';
    // A text's first word begins with a space that decoding takes away.
    expect(join(tokenizer, tokenizer.encode(text, { bos: false }))).toBe(` ${text}`);
  });

  it('are read from the decoder', () => {
    const decode = (decoder: unknown, token: string): string =>
      Array.from(readTokenBytes(decoder)(token), (byte) => byte.toString(16)).join(' ');
    const llama = {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
      ],
    };
    expect(decode(llama, '▁a')).toBe('20 61');
    expect(decode(llama, '<0xE2>')).toBe('e2');
    expect(decode(llama, '<0xE2>x')).toBe('3c 30 78 45 32 3e 78');
    expect(decode({ type: 'Metaspace', replacement: '_' }, '_a')).toBe('20 61');
    expect(decode({ type: 'ByteLevel' }, 'ĠaÃ')).toBe('20 61 c3');
    expect(decode({ type: 'ByteLevel' }, '<|😀|>')).toBe('3c 7c f0 9f 98 80 7c 3e');
    expect(decode(null, '<0xE2>')).toBe('3c 30 78 45 32 3e');
  });
});
