// Chooses the next token while reading as few logits as possible from the device. The result is exactly that of `sampleToken` on all logits,
// with the same random number; where rounding could change it, all logits are read (docs/numerics.md "Sampling").
import { type LogitSums, MOST_TOP, type TopLogits } from './backend.ts';
import { exponential } from './exponential.ts';
import { adjustLogits, isAllowed } from './logit-adjustments.ts';
import {
  acceptBest,
  drawFrom,
  resolveSampler,
  type SamplerOptions,
  type SamplerSettings,
  sampleToken,
} from './sampler.ts';

/** A row of logits, and what can be asked about it. */
export interface DistantLogits {
  readonly vocabularySize: number;
  readonly best: () => Promise<{ readonly index: number; readonly value: number }>;
  readonly top: (count: number) => Promise<TopLogits>;
  readonly sums: (temperature: number) => Promise<LogitSums>;
  readonly part: (first: number, count: number) => Promise<Float32Array>;
  readonly all: () => Promise<Float32Array>;
}

/** What a choice depends on besides logits. */
export interface Circumstances {
  /** Tokens before, for the repetition penalty. */
  readonly history: ReadonlySet<number>;
  /** Which may come, see `TokenConstraint`; null: all. */
  readonly allowed: Int32Array | null;
  readonly random: () => number;
}

/** Reads what it takes. @returns what draws the token, once, and throws what `sampleToken` throws */
export type PartialSampler = (logits: DistantLogits) => Promise<() => number>;

/** Candidates that are read first where it is not known how many count, and then. */
const CANDIDATE_COUNTS = [128, MOST_TOP];

/** Of two logits the lesser can have the larger weight, by what `exponential` is off, 8 units in the last place between them. */
const CLEARLY_LESS = 1 - 16 * Number.EPSILON;

/**
 * @returns null where all logits count
 * @throws DuobitError `SAMPLER_OPTION`
 */
export function choosePartialSampler(
  options: SamplerOptions,
  about: Circumstances,
  { vocabularySize, hasSums }: { readonly vocabularySize: number; readonly hasSums: boolean },
): PartialSampler | null {
  const settings = resolveSampler(options);
  const needed = countCandidates(settings, about.history.size);
  if (needed === 1 && !about.allowed)
    return async (logits) => {
      const best = await logits.best();
      return () => acceptBest(best);
    };
  if (needed !== null)
    return needed >= vocabularySize || needed > MOST_TOP
      ? null
      : (logits) => sampleTopK(logits, settings, about, needed);
  if (settings.repetitionPenalty !== 1) return null;
  if (settings.topP === 1 && settings.minP > 0) return (logits) => sampleMinP(logits, settings, about);
  if (!hasSums || about.allowed) return null;
  const sample = settings.topP < 1 ? sampleTopP : sampleByTemperature;
  return (logits) => sample(logits, settings, about);
}

/**
 * How many of the most likely tokens that may come hold all that sampling looks at, so that `sampleCandidates` chooses from them as
 * `sampleToken` does from all; null where that depends on the logits: without top-k every token may count, and a penalty below 1 can lift any.
 */
function countCandidates(
  { temperature, topK, repetitionPenalty }: SamplerSettings,
  seen: number,
): number | null {
  if (repetitionPenalty < 1 || (temperature > 0 && topK === 0)) return null;
  // Each token that a penalty lowers makes room for one more.
  const lowered = repetitionPenalty === 1 ? 0 : seen;
  // One more than top-k keeps: with no more than those, top-k would do nothing, and the order of the draw be another.
  return lowered + (temperature === 0 ? 1 : topK + 1);
}

/** As `sampleToken` of all logits, from so many of the most likely that no other counts. */
function sampleCandidates(
  { indices, values }: TopLogits,
  history: Iterable<number>,
  settings: SamplerSettings,
  random: () => number,
): number {
  acceptBest({ index: indices[0]!, value: values[0]! });
  // In the order of their ids they are a vocabulary of their own, in which ties fall as they do in the whole.
  const order = Array.from(indices.keys()).sort((a, b) => indices[a]! - indices[b]!);
  const ids = order.map((i) => indices[i]!);
  const places = new Map(ids.map((id, place) => [id, place]));
  const seen = [...history].flatMap((token) => places.get(token) ?? []);
  const logits = Float32Array.from(order, (i) => values[i]!);
  return ids[sampleToken(logits, seen, settings, random)]!;
}

/** Under top-k, and greedily under a grammar or a penalty: so many of the most likely tokens hold all that counts. */
async function sampleTopK(
  logits: DistantLogits,
  settings: SamplerSettings,
  about: Circumstances,
  needed: number,
): Promise<() => number> {
  // Not all of these may come.
  const count = about.allowed ? (CANDIDATE_COUNTS.find((most) => most >= 2 * needed) ?? MOST_TOP) : needed;
  if (count < logits.vocabularySize) {
    const top = keepAllowed(await logits.top(count), about.allowed);
    if (top.indices.length >= needed)
      return () => sampleCandidates(top, about.history, settings, about.random);
  }
  return sampleAll(logits, settings, about);
}

/** Under min-p alone, tokens count down to a weight. */
async function sampleMinP(
  logits: DistantLogits,
  settings: SamplerSettings,
  about: Circumstances,
): Promise<() => number> {
  const { temperature, minP } = settings;
  for (const count of CANDIDATE_COUNTS) {
    if (count >= logits.vocabularySize) break;
    const top = await logits.top(count);
    const kept = keepAllowed(top, about.allowed);
    const [best = Number.NaN, last] = [kept.values[0], top.values.at(-1)!];
    if (exponential((last - best) / temperature) < CLEARLY_LESS * minP)
      return () => sampleCandidates(kept, [], settings, about.random);
  }
  return sampleAll(logits, settings, about);
}

function keepAllowed(top: TopLogits, allowed: Int32Array | null): TopLogits {
  if (!allowed) return top;
  const kept = [...top.indices.keys()].filter((i) => isAllowed(allowed, top.indices[i]!));
  return {
    indices: Uint32Array.from(kept, (i) => top.indices[i]!),
    values: Float32Array.from(kept, (i) => top.values[i]!),
  };
}

/** Under top-p, the most likely tokens count that reach a share of the sum of all weights. */
async function sampleTopP(
  logits: DistantLogits,
  settings: SamplerSettings,
  about: Circumstances,
): Promise<() => number> {
  const { temperature, topP, minP } = settings;
  const { highest, sums } = await logits.sums(temperature);
  const total = sums.reduce((sum, part) => sum + part, 0);
  for (const count of CANDIDATE_COUNTS) {
    if (count >= logits.vocabularySize || !Number.isFinite(highest)) break;
    const { indices, values } = await logits.top(count);
    const kept = countTopP(values, temperature, topP * total, roundingBound(logits.vocabularySize, total));
    if (kept !== null)
      return () => indices[drawFrom(values.subarray(0, kept), temperature, minP, about.random())]!;
  }
  return sampleAll(logits, settings, about);
}

/** How many of the largest logits reach a sum of weights; null where that is in doubt, or more than there are. */
function countTopP(values: Float32Array, temperature: number, target: number, bound: number): number | null {
  let reached = 0;
  for (let i = 0; i < values.length; i++) {
    reached += exponential((values[i]! - values[0]!) / temperature);
    if (Math.abs(reached - target) <= bound) return null;
    if (reached > target) return i + 1;
  }
  return null;
}

/** With a temperature alone all tokens count: sums lead to the part where the one is that is drawn. */
async function sampleByTemperature(
  logits: DistantLogits,
  settings: SamplerSettings,
  about: Circumstances,
): Promise<() => number> {
  const { temperature } = settings;
  const { highest, partLength, sums } = await logits.sums(temperature);
  const share = about.random();
  const drawn = { ...about, random: () => share };
  if (!Number.isFinite(highest)) return sampleAll(logits, settings, drawn);
  const total = sums.reduce((sum, part) => sum + part, 0);
  const target = share * total;
  let reached = 0;
  let part = 0;
  while (part + 1 < sums.length && reached + sums[part]! <= target) reached += sums[part++]!;
  const first = part * partLength;
  const values = await logits.part(first, Math.min(partLength, logits.vocabularySize - first));
  const place = findDrawn(
    values,
    highest,
    temperature,
    target - reached,
    roundingBound(logits.vocabularySize, total),
  );
  return place === null ? sampleAll(logits, settings, drawn) : () => first + place;
}

/** The place where weights, from the first on, go past a sum; null where that is in doubt. */
function findDrawn(
  values: Float32Array,
  highest: number,
  temperature: number,
  target: number,
  bound: number,
): number | null {
  let left = target;
  for (let i = 0; i < values.length; i++) {
    const weight = exponential((values[i]! - highest) / temperature);
    if (left < weight) return left > bound && weight - left > bound ? i : null;
    left -= weight;
  }
  return null;
}

async function sampleAll(
  logits: DistantLogits,
  settings: SamplerSettings,
  { history, allowed, random }: Circumstances,
): Promise<() => number> {
  const all = await logits.all();
  return () => sampleToken(adjustLogits(all, {}, new Map(), allowed), history, settings, random);
}

/**
 * How much sums of the weights of n logits can differ by the order in which they are taken, with u = 2^-53 and T the sum of all, at least 1.
 * One order is n u T off; taking weights off again, to find one, n u T more. A weight w = exp -x is 8 u w off by `exponential`, and 2 u x w
 * by its argument, which is less than u. Of both sides: less than (6 n + 16) u T; 16 n u T leaves room where n is 2 or more.
 */
function roundingBound(size: number, total: number): number {
  return 8 * Number.EPSILON * size * total;
}
