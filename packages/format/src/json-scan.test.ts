// The scanner accepts what JSON.parse does, and finds what a walk over the parsed value finds.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../test/sample.ts';
import { scanJson } from './json-scan.ts';
import { largestId } from './tokenizer-check.ts';

const encode = (text: string) => new TextEncoder().encode(text);

/** Every number and array with its place, by the scanner. */
function scan(bytes: Uint8Array): [string, number][] | null {
  const found: [string, number][] = [];
  const ok = scanJson(bytes, {
    enter: () => 'names',
    number: (path, value) => void found.push([path.join('\u0000'), value]),
    array: (path, length) => void found.push([`${path.join('\u0000')}[]`, length]),
  });
  return ok ? found : null;
}

/** The same by the platform's parser. */
function parse(bytes: Uint8Array): unknown {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) };
  } catch {
    return null;
  }
}

function walk(value: unknown, path: string[] = []): [string, number][] {
  const place = path.join('\u0000');
  if (typeof value === 'number') return [[place, value]];
  if (typeof value !== 'object' || value === null) return [];
  const inside = Object.entries(value).flatMap(([key, part]) => walk(part, [...path, key]));
  return Array.isArray(value) ? [...inside, [`${place}[]`, value.length]] : inside;
}

describe('scanJson', () => {
  it('finds what JSON.parse finds, however it is written', () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), fc.constantFrom(0, 1, 7), (text, indent) => {
        const value: unknown = JSON.parse(text);
        const bytes = encode(JSON.stringify(value, null, indent));
        expect(new Map(scan(bytes)!)).toEqual(new Map(walk(value)));
      }),
      { numRuns: 300 },
    );
  });

  it('reads numbers, escapes and a byte order mark', () => {
    for (const text of ['0', '-0', '12', '123456789', '1234567890123', '-1.5e-7', '2E+3', '0.25', '1e400']) {
      expect(scan(encode(`[${text}]`))).toEqual([
        ['0', Number(text)],
        ['[]', 1],
      ]);
    }
    expect(scan(encode('{"m\\u006fd\\n\\"":{"é😀":3}}'))).toEqual([['mod\n"\u0000é😀', 3]]);
    expect(scan(encode('\ufeff [1]'))).toEqual([
      ['0', 1],
      ['[]', 1],
    ]);
    expect(scan(encode('['.repeat(500) + ']'.repeat(500)))).toHaveLength(500);
    expect(scan(encode('['.repeat(100_000)))).toBeNull();
  });

  it('accepts the same damaged texts as JSON.parse', () => {
    const random = createRandom(11);
    const pick = (most: number) => Math.floor(random() * most);
    const seeds = [
      '{"model":{"vocab":{"a":0,"\\u00e9":-1.5e3}},"added_tokens":[{"id":1},true,false,null,[],{}]}',
      '[0.5,"\u00e9\u4e2d\u{1f600}\\n\\u12aF",1e5 , -0 ]',
      '"\\ud800"',
    ].map(encode);
    const alphabet = encode('{}[]",:\\u0123456789eE+-. \n\ttfnul\u0001');
    let accepted = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = seeds[i % seeds.length]!.slice();
      const at = pick(bytes.length);
      if (i % 3 === 0) bytes[at] = pick(256);
      else if (i % 3 === 1) bytes[at] = alphabet[pick(alphabet.length)]!;
      const mutant = i % 5 === 0 ? bytes.slice(0, at) : i % 5 === 1 ? bytes.slice(at) : bytes;
      const parsed = parse(mutant);
      if (parsed) accepted += 1;
      if ((scan(mutant) !== null) !== (parsed !== null)) expect.fail(new TextDecoder().decode(mutant));
    }
    expect(accepted).toBeGreaterThan(500);
  });

  it('refuses sequences that are not UTF-8', () => {
    const bad = [
      [0x80],
      [0xc1, 0xbf],
      [0xc3],
      [0xe0, 0x9f, 0xbf],
      [0xed, 0xa0, 0x80],
      [0xf0, 0x8f, 0xbf, 0xbf],
    ];
    for (const bytes of [...bad, [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0xff]]) {
      expect(scan(Uint8Array.of(0x22, ...bytes, 0x22))).toBeNull();
    }
    expect(scan(encode('"\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}"'))).toEqual([]);
  });
});

describe('largestId', () => {
  it.each<[string, number | null]>([
    ['{"model":{"vocab":{"a":0,"b":36}},"added_tokens":[{"id":1}]}', 36],
    ['{"added_tokens":[{"id":1},{"id":7,"special":9}],"model":{"vocab":{"a":3}}}', 7],
    ['{"model":{"type":"Unigram","vocab":[["a",-1.5],["b",-99],["c",1e9]],"unk_id":88}}', 2],
    ['{"model":{"vocab":{"a":{"b":9},"c":[9]},"merges":[9]},"vocab":{"a":9}}', -1],
    ['{"added_tokens":{"id":{"id":5}},"model":[{"vocab":{"a":5}}]}', -1],
    ['{"model":5,"added_tokens":[[5],5]}', -1],
    ['{}', -1],
    ['{"model":{"vocab":{"a":0}}', null],
    ['', null],
  ])('of %s is %s', (text, expected) => {
    expect(largestId(encode(text))).toBe(expected);
  });
});
