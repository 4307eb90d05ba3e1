// Log-probabilities of tokens, of the distribution that a model's logits are.
import { exponential } from './exponential.ts';
import { acceptBest } from './sampler.ts';

/** Most of the most likely tokens that are told of each place: what OpenAI's API allows. */
export const MOST_LOGPROBS = 20;

/**
 * @param logits one value a token
 * @param count most likely tokens that are wanted
 * @returns `of`, the natural logarithm of a token's probability, and the most likely tokens, the best first, of equal ones the lower id
 * @throws DuobitError `SAMPLER_LOGITS_INVALID` when a logit is NaN or Infinity or none is finite
 */
export function readLogprobs(
  logits: Float32Array,
  count: number,
): { readonly of: (token: number) => number; readonly top: readonly number[] } {
  const broken = logits.findIndex((value) => !(value < Number.POSITIVE_INFINITY));
  const top = findTop(logits, Math.max(count, 1));
  const best = broken >= 0 ? broken : top[0]!;
  const highest = logits[best]!;
  acceptBest({ index: best, value: highest });
  let sum = 0;
  for (let token = 0; token < logits.length; token++) sum += exponential(logits[token]! - highest);
  const total = Math.log(sum);
  return { of: (token) => logits[token]! - highest - total, top: top.slice(0, count) };
}

/** A list that is kept sorted: counts are small, and few tokens of a vocabulary get into it. */
function findTop(logits: Float32Array, count: number): number[] {
  const top: number[] = [];
  for (let token = 0; token < logits.length; token++) {
    const value = logits[token]!;
    if (top.length === count && value <= logits[top[count - 1]!]!) continue;
    let place = top.length;
    while (place > 0 && value > logits[top[place - 1]!]!) place--;
    top.splice(place, 0, token);
    if (top.length > count) top.pop();
  }
  return top;
}
