// What steps share.
import { describe, expect, it } from 'vitest';
import type { Arena } from './arena.ts';
import { makeWideRows } from './setting.ts';

describe('room for rows wider than shared memory', () => {
  it('is taken once, for all rows of the widest slot of floats, and not before it is asked for', () => {
    const taken: number[] = [];
    const arena = { allocate: (length: number) => 1000 + taken.push(length) } as unknown as Arena;
    const slots = {
      narrow: { kind: 'f32', width: 40 },
      wide: { kind: 'f32', width: 70 },
      codes: { kind: 'a4', width: 200 },
    } as const;
    const plan = {
      slots,
      operations: [],
      cacheLayers: 0,
      heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
      ropeFrequencies: new Float64Array(1),
    };
    const wideRows = makeWideRows({ plan, options: { capacity: 8, maxRows: 3 }, arena });
    expect(taken).toEqual([]);
    expect([wideRows(), wideRows()]).toEqual([1001, 1001]);
    // 70 floats, of whole 32.
    expect(taken).toEqual([4 * 96 * 3]);
  });
});
