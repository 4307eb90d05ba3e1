// What the KV caches of a program hold, so that a prompt begins where it differs from what was run before.

export interface SequenceCache {
  /** `RunPart.sequence`. */
  readonly index: number;
  /** The tokens whose keys and values it holds from position 0 on, as far as that is known. */
  readonly tokens: number[];
  isTaken: boolean;
  /** Goes up with each use; 0: never used. */
  lastUsed: number;
}

export function createCaches(count: number): SequenceCache[] {
  return Array.from({ length: count }, (_, index) => ({ index, tokens: [], isTaken: false, lastUsed: 0 }));
}

/**
 * The free cache that has most of the prompt's beginning, of equals the one used longest ago; its other tokens are dropped. The last
 * token of a prompt counts as new, as its logits are wanted.
 * @param reuses false: nothing is kept
 */
export function chooseCache(
  caches: readonly SequenceCache[],
  prompt: readonly number[],
  reuses: boolean,
): SequenceCache {
  const shared = ({ tokens }: SequenceCache): number =>
    reuses ? Math.min(countShared(tokens, prompt), prompt.length - 1) : 0;
  const cache = caches
    .filter(({ isTaken }) => !isTaken)
    .reduce((best, other) => {
      const more = shared(other) - shared(best);
      return more > 0 || (more === 0 && other.lastUsed < best.lastUsed) ? other : best;
    });
  cache.tokens.length = shared(cache);
  return cache;
}

function countShared(held: readonly number[], prompt: readonly number[]): number {
  const most = Math.min(held.length, prompt.length);
  let count = 0;
  while (count < most && held[count] === prompt[count]) count++;
  return count;
}

/** Positions from here on are about to be written. */
export function forgetFrom({ tokens }: SequenceCache, position: number): void {
  tokens.length = Math.min(tokens.length, position);
}

/** Tokens were written from here on. What lies behind a gap is not known to be of one text. */
export function noteTokens({ tokens }: SequenceCache, position: number, written: Int32Array): void {
  if (tokens.length === position) for (const token of written) tokens.push(token);
}
