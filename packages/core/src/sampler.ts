// Chooses the next token from logits. The steps and their order are those of Hugging Face transformers: repetition
// penalty, temperature, top-k, top-p, min-p, draw; each filter sees the distribution that the one before left.
import { DuobitError } from '@duobit/format';
import { exponential } from './exponential.ts';
import { showValue } from './option-checks.ts';

/** How the next token is chosen. */
export interface SamplerOptions {
  /** 0 (default) takes the most likely token; above, logits are divided by it. */
  readonly temperature?: number | undefined;
  /** Keeps the k most likely tokens; 0 (default) keeps all. */
  readonly topK?: number | undefined;
  /** Keeps the fewest most likely tokens that together reach this probability; 1 (default) keeps all. Holtzman et al. 2020. */
  readonly topP?: number | undefined;
  /** Keeps tokens at least this fraction as likely as the most likely one; 0 (default) keeps all. Nguyen et al. 2024. */
  readonly minP?: number | undefined;
  /** Divides the positive and multiplies the negative logits of tokens seen before, 0.001 to 1000; 1 (default) is off. Keskar et al. 2019. */
  readonly repetitionPenalty?: number | undefined;
  /** Seed of the random numbers, a safe integer. Default 0. The same seed gives the same tokens. */
  readonly seed?: number | undefined;
}

/** Divided by less, a finite logit can become infinite. */
const LEAST_PENALTY = 0.001;

type Scores = Float32Array | Float64Array;

export type SamplerSettings = { readonly [K in keyof SamplerOptions]-?: number };

/**
 * Fills in defaults and checks ranges.
 * @throws DuobitError `SAMPLER_OPTION` naming the option, its value and its range.
 */
export function resolveSampler(options: SamplerOptions): SamplerSettings {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  const check = (name: string, value: number, valid: boolean, range: string): void => {
    // Comparisons make numbers of null and of texts.
    if (typeof value !== 'number' || !valid)
      throw new DuobitError('SAMPLER_OPTION', `${name} is ${showValue(value)}; it must be ${range}`, {
        where: name,
        remedy: `Choose ${name} in its range`,
      });
  };
  check(
    'temperature',
    temperature,
    temperature >= 0 && Number.isFinite(temperature),
    'a number, zero or more',
  );
  check('topK', topK, Number.isInteger(topK) && topK >= 0, 'a whole number, zero or more');
  check('topP', topP, topP >= 0 && topP <= 1, 'a number from 0 to 1');
  check('minP', minP, minP >= 0 && minP <= 1, 'a number from 0 to 1');
  check(
    'repetitionPenalty',
    repetitionPenalty,
    repetitionPenalty >= LEAST_PENALTY && repetitionPenalty <= 1 / LEAST_PENALTY,
    `a number from ${LEAST_PENALTY} to ${1 / LEAST_PENALTY}`,
  );
  check('seed', seed, Number.isSafeInteger(seed), 'a whole number below 2^53');
  return { temperature, topK, topP, minP, repetitionPenalty, seed };
}

/**
 * The next token. Pure but for `random`, which is called once when temperature is above zero and never otherwise.
 * Of equally likely tokens the lower id comes first, everywhere.
 * @param logits one value a token; -Infinity excludes a token. Not changed.
 * @param history tokens before this one (prompt included), for the repetition penalty
 * @param random uniform in [0, 1), as from `createRandom(seed)`
 * @throws DuobitError `SAMPLER_OPTION`, and `SAMPLER_LOGITS_INVALID` when a logit is NaN or Infinity or none is finite.
 */
export function sampleToken(
  logits: Float32Array,
  history: Iterable<number>,
  options: SamplerOptions,
  random: () => number,
): number {
  const { temperature, topK, topP, minP, repetitionPenalty } = resolveSampler(options);
  const best = findBest(logits);
  const scores = repetitionPenalty === 1 ? logits : penalize(logits, history, repetitionPenalty);
  const top = scores === logits ? best : findBest(scores);
  if (temperature === 0) return top;

  // The best token first where the order matters: top-k and top-p sort, min-p alone does not.
  let tokens = topK > 0 && topK < scores.length ? selectTop(scores, topK, top) : null;
  let weights = weigh(scores, tokens, scores[top]!, temperature);
  if (topP < 1) {
    tokens = selectShare(scores, tokens, weights, top, topP);
    weights = weigh(scores, tokens, scores[top]!, temperature);
  }
  return draw(tokens, weights, minP, random()) ?? top;
}

function findBest(scores: Scores): number {
  let best = 0;
  let highest = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < scores.length; token++) {
    const score = scores[token]!;
    // One comparison for all but a few: NaN is not less than or equal to anything.
    if (score <= highest) continue;
    if (!(score < Number.POSITIVE_INFINITY)) throw invalidLogits(`the logit of token ${token} is ${score}`);
    best = token;
    highest = score;
  }
  if (highest === Number.NEGATIVE_INFINITY) throw invalidLogits(`none of ${scores.length} logits is finite`);
  return best;
}

/**
 * The token that a backend found to be the most likely.
 * @throws DuobitError `SAMPLER_LOGITS_INVALID`
 */
export function acceptBest({ index, value }: { readonly index: number; readonly value: number }): number {
  if (!Number.isFinite(value)) throw invalidLogits(`the logit of token ${index} is ${value}`);
  return index;
}

function invalidLogits(message: string): DuobitError {
  return new DuobitError('SAMPLER_LOGITS_INVALID', message, {
    where: 'logits',
    remedy: 'Validate the model file; its weights or the activations they give are broken',
  });
}

function penalize(logits: Float32Array, history: Iterable<number>, penalty: number): Float64Array {
  const scores = Float64Array.from(logits);
  for (const token of new Set(history)) {
    const score = scores[token];
    if (score !== undefined) scores[token] = score > 0 ? score / penalty : score * penalty;
  }
  return scores;
}

/** Probabilities up to a common factor that gives the best token 1; of all tokens in order when `tokens` is null. */
function weigh(
  scores: Scores,
  tokens: readonly number[] | null,
  highest: number,
  temperature: number,
): Float64Array {
  const weights = tokens ? Float64Array.from(tokens, (token) => scores[token]!) : new Float64Array(scores);
  for (let i = 0; i < weights.length; i++) weights[i] = exponential((weights[i]! - highest) / temperature);
  return weights;
}

/** The k most likely tokens, best first. */
function selectTop(scores: Scores, k: number, best: number): number[] {
  return sortBest(scores, scores[best]!, null, k).slice(0, k);
}

/** The shortest run of most likely tokens, best first, whose share of the total weight reaches `share`; never empty. */
function selectShare(
  scores: Scores,
  tokens: readonly number[] | null,
  weights: Float64Array,
  best: number,
  share: number,
): number[] {
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i]!;
  const target = share * total;
  // Top-k has put them in order.
  const order = tokens ?? sortBest(scores, scores[best]!, weights, target * (1 + SUM_ERROR * weights.length));
  let reached = 0;
  let count = 0;
  for (; count < order.length && (count === 0 || reached < target); count++)
    reached += weights[tokens ? count : order[count]!]!;
  return order.slice(0, count);
}

/** Bins that a vocabulary is counted into, and how many lie between two scores one apart. */
const BINS = 1024;
const BINS_PER_UNIT = 32;
/** More than two sums of the same numbers in different order differ, for each number and relative to the sum. */
const SUM_ERROR = 2 * Number.EPSILON;

/**
 * As many of the most likely tokens as reach an amount together, and some more, best first. Counting them into bins below the best one
 * leaves few to sort, whatever the size of the vocabulary.
 * @param amounts of each token; null: 1
 */
function sortBest(scores: Scores, highest: number, amounts: Float64Array | null, reach: number): number[] {
  const binOf = (score: number): number => Math.floor(Math.min((highest - score) * BINS_PER_UNIT, BINS - 1));
  const bins = new Float64Array(BINS);
  for (let token = 0; token < scores.length; token++)
    bins[binOf(scores[token]!)]! += amounts ? amounts[token]! : 1;
  let last = 0;
  for (let reached = bins[0]!; reached < reach && last < BINS - 1; reached += bins[++last]!);
  const tokens: number[] = [];
  for (let token = 0; token < scores.length; token++) if (binOf(scores[token]!) <= last) tokens.push(token);
  return tokens.sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/**
 * Draws from logits that all count.
 * @param values the best first
 * @param random in [0, 1)
 * @returns a place among them
 */
export function drawFrom(values: Float32Array, temperature: number, minP: number, random: number): number {
  return draw(null, weigh(values, null, values[0]!, temperature), minP, random) ?? 0;
}

/** Draws in proportion to the weights that are at least `least`; null when none is. */
function draw(
  tokens: readonly number[] | null,
  weights: Float64Array,
  least: number,
  random: number,
): number | null {
  let total = 0;
  for (let i = 0; i < weights.length; i++) if (weights[i]! >= least) total += weights[i]!;
  let left = random * total;
  let last: number | null = null;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    if (weight < least || weight === 0) continue;
    last = i;
    if (left < weight) break;
    left -= weight;
  }
  // Rounding can leave a little over; it belongs to the last token that has any weight.
  return last === null || tokens === null ? last : tokens[last]!;
}
