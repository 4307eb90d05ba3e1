// Duplicate keys must be found wherever they are, and nowhere else.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findDuplicateKey } from './strict-json.ts';

describe('findDuplicateKey', () => {
  it.each([
    ['{"a":1,"a":2}', 'a'],
    ['{"x":{"a":1,"b":[{"c":1,"c":2}]}}', 'c'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"":1,"":2}', ''],
    ['{"a\\"":1, "a\\"" : 2}', 'a"'],
    ['[{"a":1},{"a":1}]', null],
    ['{"a":"a","b":["a","a"],"c":{"a":1}}', null],
    ['{"a":"{\\"a\\":1,","b":"}"}', null],
    ['{"a":[],"b":{},"c":[[],{}],"d":1}', null],
    ['"text"', null],
  ])('%s', (text, expected) => {
    expect(findDuplicateKey(text)).toBe(expected);
  });

  it('finds none in what JSON.stringify writes, and one after a pair is repeated', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), (value) => {
        const text = JSON.stringify(value);
        expect(findDuplicateKey(text)).toBeNull();
        const [key] = Object.keys(value);
        const repeated = `${text.slice(0, -1)},${JSON.stringify(key)}:0}`;
        expect(findDuplicateKey(repeated)).toBe(key);
        expect(findDuplicateKey(`[0,{"deep":${repeated}}]`)).toBe(key);
      }),
    );
  });
});
