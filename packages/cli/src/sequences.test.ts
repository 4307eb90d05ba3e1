// How many texts at a time: as many as backend and memory allow, up to a number that is of use.
import { TINY_ARCHITECTURE } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { chooseSequences } from './sequences.ts';

const many = { maxSequences: Number.POSITIVE_INFINITY, kv: 'f16' } as const;
/** Keys and values of 2 blocks, 2 heads of 16, 64 positions, in f16. */
const CACHE = 2 * 2 * 2 * 16 * 64 * 2;

describe('answers at a time', () => {
  it('are eight where there is memory for them', () => {
    expect(chooseSequences(many, TINY_ARCHITECTURE)).toBe(8);
    expect(chooseSequences({ ...many, maxSequences: 3 }, TINY_ARCHITECTURE)).toBe(3);
    expect(chooseSequences({ kv: 'f32' }, TINY_ARCHITECTURE)).toBe(1);
  });

  it('are fewer where caches would take more than a quarter of what is free', () => {
    const choose = (context: number | undefined, free: number) =>
      chooseSequences(many, TINY_ARCHITECTURE, context, free);
    expect(choose(undefined, 4 * 5 * CACHE)).toBe(5);
    expect(choose(undefined, 4 * 5 * CACHE - 1)).toBe(4);
    expect(choose(32, 4 * 3 * CACHE)).toBe(6);
    expect(choose(undefined, 0)).toBe(1);
  });
});
