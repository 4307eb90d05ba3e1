import { describe, expect, it } from 'vitest';
import { createRandom, createXoshiro128, splitmix64 } from './random.ts';

describe('random numbers', () => {
  it('gives the published first outputs of splitmix64 from seed 0', () => {
    expect(splitmix64(0n, 3)).toEqual([0xe220a8397b1dcdafn, 0x6e789e6aa1b965f4n, 0x06c45d188009454fn]);
  });

  it('gives the outputs of xoshiro128** from state 1, 2, 3, 4', () => {
    // The reference algorithm on unbounded integers.
    const mask = 0xffffffffn;
    const rotate = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & mask;
    const s = [1n, 2n, 3n, 4n];
    const expected = Array.from({ length: 1000 }, () => {
      const result = (rotate((s[1]! * 5n) & mask, 7n) * 9n) & mask;
      const t = (s[1]! << 9n) & mask;
      s[2]! ^= s[0]!;
      s[3]! ^= s[1]!;
      s[1]! ^= s[2]!;
      s[0]! ^= s[3]!;
      s[2]! ^= t;
      s[3] = rotate(s[3]!, 11n);
      return Number(result);
    });
    expect(expected.slice(0, 4)).toEqual([11520, 0, 5927040, 70819200]);
    const next = createXoshiro128([1, 2, 3, 4]);
    expect(expected.map(() => next())).toEqual(expected);
  });

  it('is uniform in [0, 1), repeats with the seed and differs between seeds', () => {
    const draws = (seed: number) => Array.from({ length: 20_000 }, createRandom(seed));
    const values = draws(7);
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    const mean = values.reduce((a, b) => a + b) / values.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(5 / Math.sqrt(12 * values.length));
    const bins = new Array<number>(16).fill(0);
    for (const value of values) bins[Math.floor(value * 16)]!++;
    const chi = bins.reduce((sum, count) => sum + (count - 1250) ** 2 / 1250, 0);
    expect(chi).toBeLessThan(45); // 15 degrees of freedom: p < 1e-4
    expect(draws(7)).toEqual(values);
    for (const seed of [0, 8, -7, 7 + 2 ** 32, Number.MAX_SAFE_INTEGER])
      expect(draws(seed)).not.toEqual(values);
  });
});
