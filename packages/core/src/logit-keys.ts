// Logits as kernels search them: a key in the order of unsigned integers, and the place with all bits turned, so that of equal logits
// the one that comes first has the larger pair.
import type { TopLogits } from './backend.ts';

/** The bits of a logit, as f32, from its key: numbers in their order from below, and on top what is not a number. */
const bitsOfKey = (key: number): number => (key >>> 31 === 1 ? key ^ 0x8000_0000 : ~key);

/** One number, as bits and as what they are. */
const BITS = new Uint32Array(1);
const VALUE = new Float32Array(BITS.buffer);

/** A logit from its key. */
export function logitOfKey(key: number): number {
  BITS[0] = bitsOfKey(key);
  return VALUE[0]!;
}

/**
 * @param pairs key and turned place of each, in any order
 * @returns the best first: the larger logit, of equal ones the one that comes first
 */
export function sortTop(pairs: Uint32Array): TopLogits {
  const count = pairs.length / 2;
  // As numbers of 64 bits, the key above: comparing pairs in a function of ours takes ten times as long.
  const words = new Uint32Array(2 * count);
  for (let i = 0; i < words.length; i += 2) {
    words[i] = pairs[i + 1]!;
    words[i + 1] = pairs[i]!;
  }
  new BigUint64Array(words.buffer).sort();
  const [indices, bits] = [new Uint32Array(count), new Uint32Array(count)];
  for (let i = 0, at = words.length; i < count; i++) {
    bits[i] = bitsOfKey(words[--at]!);
    indices[i] = ~words[--at]!;
  }
  return { indices, values: new Float32Array(bits.buffer) };
}
