// The scanner accepts what JSON.parse does, and finds what a walk over the parsed value finds.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../test/sample.ts';
import { scanJson } from './json-scan.ts';
import { largestId } from './tokenizer-check.ts';

const encode = (text: string) => new TextEncoder().encode(text);

/** Every number and container with its place, by the scanner: each container is a zone of its own. */
function scan(bytes: Uint8Array): [string, number][] | null {
  const found: [string, number][] = [];
  const path: { names: string; array: boolean; next: number }[] = [{ names: '', array: false, next: 0 }];
  const place = (name: string) => {
    const { names, array, next } = path.at(-1)!;
    path.at(-1)!.next += 1;
    return path.length === 1 ? '' : `${names}/${array ? next : name}`;
  };
  const ok = scanJson(bytes, {
    named: [false, true],
    open(_, name, kind) {
      path.push({ names: place(name), array: kind === 'array', next: 0 });
      return 1;
    },
    number: (_, name, value) => void found.push([place(name), value]),
    close(_, count) {
      const { names, array } = path.pop()!;
      found.push([`${names}${array ? '[]' : '{}'}`, count]);
    },
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

/** As `scan`; numbers only of arrays, whose elements the scanner can count only as far as it is told of them. */
function walk(value: unknown, place = ''): [string, number][] {
  if (typeof value === 'number') return [[place, value]];
  if (typeof value !== 'object' || value === null) return [];
  const inside = Object.entries(value).flatMap(([key, part]) => walk(part, `${place}/${key}`));
  const kind = Array.isArray(value) ? '[]' : '{}';
  return [...inside, [`${place}${kind}`, Object.keys(value).length]];
}

describe('scanJson', () => {
  it('finds what JSON.parse finds, however it is written', () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), fc.constantFrom(0, 1, 7), (text, indent) => {
        // Elements that the visitor is not told of would make it count wrong.
        const value: unknown = JSON.parse(text, (_, part) =>
          typeof part === 'string' || typeof part === 'boolean' || part === null ? 1 : part,
        );
        const bytes = encode(JSON.stringify(value, null, indent));
        expect(new Map(scan(bytes)!)).toEqual(new Map(walk(value)));
      }),
      { numRuns: 300 },
    );
  });

  it('reads numbers, escapes and a byte order mark', () => {
    for (const text of ['0', '-0', '12', '123456789', '1234567890123', '-1.5e-7', '2E+3', '0.25', '1e400']) {
      expect(scan(encode(`[${text}]`))).toEqual([
        ['/0', Number(text)],
        ['[]', 1],
      ]);
    }
    expect(scan(encode('{"m\\u006fd\\n\\"":{"é😀":3}}'))).toEqual([
      ['/mod\n"/é😀', 3],
      ['/mod\n"{}', 1],
      ['{}', 1],
    ]);
    expect(scan(encode('\ufeff [1]'))).toEqual([
      ['/0', 1],
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
