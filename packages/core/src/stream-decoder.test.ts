import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStreamDecoder } from './stream-decoder.ts';

// Tokens are bytes, so every character beyond ASCII is split; 256 is a token without text.
const decodeBytes = (tokens: readonly number[]) =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(tokens));
const skip = (token: number) => token === 256;

function stream(tokens: readonly number[]): string[] {
  const decoder = createStreamDecoder(decodeBytes, skip);
  return [...tokens.map((token) => decoder.push(token)), decoder.flush()];
}

describe('createStreamDecoder', () => {
  it('holds a character until its last byte', () => {
    const bytes = new TextEncoder().encode('a😀é');
    expect(stream([...bytes])).toEqual(['a', '', '', '', '😀', '', 'é', '']);
  });

  it('gives a replacement character only when a sequence is surely broken or the text ends', () => {
    expect(stream([0xf0, 0x9f, 0x41])).toEqual(['', '', '\uFFFDA', '']);
    expect(stream([0x41, 0xf0, 0x9f])).toEqual(['A', '', '', '\uFFFD']);
  });

  it('passes over tokens without text, inside a character too', () => {
    const [first, second] = new TextEncoder().encode('é');
    expect(stream([256, first!, 256, second!]).join('')).toBe('é');
  });

  it('joins to the whole text for any bytes, and never holds back more than one character', () => {
    const pieces = fc.oneof(
      fc.string({ unit: 'grapheme' }).map((text) => [...new TextEncoder().encode(text)]),
      fc.array(fc.integer({ min: 0, max: 256 }), { maxLength: 60 }),
      fc.array(fc.constantFrom(0x80, 0xbf, 0xc3, 0xe2, 0xf0, 0x9f), { maxLength: 120 }),
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 4 }), (parts) => {
        const tokens = parts.flat();
        const given = stream(tokens);
        const whole = decodeBytes(tokens.filter((token) => !skip(token)));
        expect(given.join('')).toBe(whole);
        let shown = '';
        for (const [i, text] of given.slice(0, -1).entries()) {
          shown += text;
          const sofar = decodeBytes(tokens.slice(0, i + 1).filter((token) => !skip(token)));
          expect(sofar.length - shown.length).toBeLessThanOrEqual(1);
          expect(sofar.startsWith(shown)).toBe(true);
        }
      }),
      { seed: 9, numRuns: 500 },
    );
  });

  it('goes on after a text as one that was decoded whole', () => {
    // As tokenizers do that put a space before every word and take away the first of a text.
    const words = ['', 'Once', 'upon', 'a', 'time'];
    const decode = (tokens: readonly number[]) =>
      tokens
        .map((token) => ` ${words[token]}`)
        .join('')
        .slice(1);
    const give = (before: readonly number[]) => {
      const decoder = createStreamDecoder(decode, (token) => token === 0, before);
      return [decoder.push(3), decoder.push(4), decoder.flush()];
    };
    expect(give([])).toEqual(['a', ' time', '']);
    expect(give([0])).toEqual(['a', ' time', '']);
    expect(give([0, 1, 2, 0])).toEqual([' a', ' time', '']);
    expect(give(Array(50).fill(1))).toEqual([' a', ' time', '']);
  });

  it('does not slow down on text that stays broken', () => {
    let longest = 0;
    const decoder = createStreamDecoder((tokens) => {
      longest = Math.max(longest, tokens.length);
      return decodeBytes(tokens);
    }, skip);
    let text = '';
    for (let i = 0; i < 5000; i++) text += decoder.push(0x80);
    text += decoder.flush();
    expect(text).toBe('\uFFFD'.repeat(5000));
    expect(longest).toBeLessThan(64);
  });
});
