// The random numbers behind sampling: xoshiro128** 1.1 seeded by splitmix64 (Blackman & Vigna 2018, prng.di.unimi.it). The
// same seed gives the same numbers on every platform.

/** xoshiro128**: 32-bit outputs from four 32-bit words of state, not all zero. */
export function createXoshiro128(state: readonly [number, number, number, number]): () => number {
  let [a, b, c, d] = state;
  return () => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
}

/** The first `count` outputs of splitmix64 from a 64-bit seed. */
export function splitmix64(seed: bigint, count: number): bigint[] {
  let state = BigInt.asUintN(64, seed);
  return Array.from({ length: count }, () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let z = state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return z ^ (z >> 31n);
  });
}

/**
 * Uniform numbers in [0, 1) with 53 random bits.
 * @param seed a safe integer, negative ones included
 */
export function createRandom(seed: number): () => number {
  const [first, second] = splitmix64(BigInt(seed), 2) as [bigint, bigint];
  const low = (word: bigint): number => Number(word & 0xffffffffn);
  const next = createXoshiro128([low(first), low(first >> 32n), low(second), low(second >> 32n)]);
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}
