import { describe, expect, it } from 'vitest';
import { formatBytes, formatPairs, formatRate, formatTable, plural } from './text.ts';

describe('text for people', () => {
  it('gives exact bytes, and decimal units from ten thousand on', () => {
    expect(formatBytes(9_999)).toBe('9,999 bytes');
    expect(formatBytes(66_412_032)).toBe('66,412,032 bytes (66.41 MB)');
    expect(formatBytes(5_000_000_000)).toBe('5,000,000,000 bytes (5.00 GB)');
  });

  it('keeps three digits of small rates', () => {
    expect(formatRate(8.1234)).toBe('8.12');
    expect(formatRate(1234.56)).toBe('1234.6');
  });

  it('counts nouns', () => {
    expect(plural(1, 'thread')).toBe('1 thread');
    expect(plural(2000, 'thread')).toBe('2,000 threads');
  });

  it('aligns pairs and tables', () => {
    expect(
      formatPairs([
        ['a', '1'],
        ['long', '2'],
      ]),
    ).toBe('a     1\nlong  2\n');
    expect(
      formatTable(
        ['name', 'n'],
        [
          ['x', '10'],
          ['yyyyy', '5'],
        ],
        ['n'],
      ),
    ).toBe('name    n\nx      10\nyyyyy   5\n');
  });
});
