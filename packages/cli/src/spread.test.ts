import { describe, expect, it } from 'vitest';
import { summarize } from './spread.ts';

describe('summarize', () => {
  it('takes the middle of odd counts and the mean of the two middles of even ones', () => {
    expect(summarize([3, 1, 2])).toEqual({ median: 2, minimum: 1, maximum: 3 });
    expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, minimum: 1, maximum: 4 });
    expect(summarize([7])).toEqual({ median: 7, minimum: 7, maximum: 7 });
  });
});
