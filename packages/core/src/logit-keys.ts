// Logits as kernels search them: a key in the order of unsigned integers, and the place with all bits turned, so that of equal logits
// the one that comes first has the larger pair.
import type { TopLogits } from './backend.ts';

/** A logit from its key: numbers in their order from below, and on top what is not a number. */
export function logitOfKey(key: number): number {
  const bits = key >>> 31 === 1 ? key ^ 0x8000_0000 : ~key;
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

/**
 * @param pairs key and turned place of each, in any order
 * @returns the best first: the larger logit, of equal ones the one that comes first
 */
export function sortTop(pairs: Uint32Array): TopLogits {
  const order = Array.from({ length: pairs.length / 2 }, (_, i) => 2 * i);
  order.sort((a, b) => pairs[b]! - pairs[a]! || pairs[b + 1]! - pairs[a + 1]!);
  return {
    indices: Uint32Array.from(order, (at) => ~pairs[at + 1]!),
    values: Float32Array.from(order, (at) => logitOfKey(pairs[at]!)),
  };
}
