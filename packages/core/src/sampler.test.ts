import { DuobitError } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from './random.ts';
import { type SamplerOptions, sampleToken } from './sampler.ts';

const logitsOf = (...values: number[]) => Float32Array.from(values);
const never = () => {
  throw new Error('no random number is needed here');
};

function frequencies(logits: Float32Array, options: SamplerOptions, history: number[] = [], count = 20_000) {
  const random = createRandom(3);
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < count; i++) counts[sampleToken(logits, history, options, random)]!++;
  return counts.map((n) => n / count);
}

function softmax(logits: ArrayLike<number>): number[] {
  const weights = Array.from(logits, (value) => Math.exp(value));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof DuobitError) return error.code;
    throw error;
  }
  return 'none';
}

describe('sampleToken', () => {
  it('is greedy at temperature 0, the lower id first, without random numbers', () => {
    expect(sampleToken(logitsOf(1, 3, 3, -2), [], { topK: 1, topP: 0.1 }, never)).toBe(1);
    expect(sampleToken(logitsOf(Number.NEGATIVE_INFINITY, -5), [], {}, never)).toBe(1);
  });

  it('draws by the softmax of logits / temperature', () => {
    const logits = logitsOf(0.3, -1, 1.2, 0, 2);
    for (const temperature of [0.5, 1, 2]) {
      const expected = softmax(Array.from(logits, (value) => value / temperature));
      const seen = frequencies(logits, { temperature });
      // Five standard deviations of a binomial share.
      for (const [i, share] of expected.entries())
        expect(Math.abs(seen[i]! - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / 20_000));
    }
  });

  it('keeps k tokens under top-k, the lower id among equals', () => {
    const seen = frequencies(logitsOf(1, 2, 1, 2, 1), { temperature: 1, topK: 3 });
    expect(seen.map((share) => share > 0)).toEqual([true, true, false, true, false]);
  });

  it('keeps the fewest tokens reaching top-p, the crossing one included', () => {
    const logits = logitsOf(...[0.1, 0.4, 0.3, 0.2].map(Math.log));
    const kept = (topP: number) => frequencies(logits, { temperature: 1, topP }).map((share) => share > 0);
    expect(kept(0.39)).toEqual([false, true, false, false]);
    expect(kept(0.6)).toEqual([false, true, true, false]);
    expect(kept(0.75)).toEqual([false, true, true, true]);
    expect(kept(0.95)).toEqual([true, true, true, true]);
    expect(kept(0)).toEqual([false, true, false, false]);
  });

  it('measures top-p in what top-k left, and after temperature', () => {
    const logits = logitsOf(...[0.4, 0.3, 0.2, 0.1].map(Math.log));
    // Of the two kept by top-k the first has 4/7 > 0.5.
    expect(frequencies(logits, { temperature: 1, topK: 2, topP: 0.5 })[1]).toBe(0);
    // At a low temperature the first alone passes 0.9.
    expect(frequencies(logits, { temperature: 0.1, topP: 0.9 })[1]).toBe(0);
  });

  it('keeps what min-p allows relative to the best', () => {
    const seen = frequencies(logitsOf(...[0.5, 0.24, 0.26].map(Math.log)), { temperature: 1, minP: 0.5 });
    expect(seen.map((share) => share > 0)).toEqual([true, false, true]);
  });

  it('penalizes tokens of the history once, positive and negative logits alike', () => {
    expect(sampleToken(logitsOf(2, 1.5), [0, 0], { repetitionPenalty: 1.5 }, never)).toBe(1);
    expect(sampleToken(logitsOf(2, 1.2), [0, 0], { repetitionPenalty: 1.5 }, never)).toBe(0);
    expect(sampleToken(logitsOf(-1, -1.4), [0], { repetitionPenalty: 1.5 }, never)).toBe(1);
    expect(sampleToken(logitsOf(2, 1.5), [99, -1], { repetitionPenalty: 1.5 }, never)).toBe(0);
  });

  it('agrees with a plain sort under every filter (top-p prefilter included)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 60 }),
        fc.record({
          temperature: fc.constantFrom(0.3, 1, 3),
          topK: fc.nat(70),
          topP: fc.double({ min: 0, max: 1, noNaN: true }),
          minP: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        fc.integer(),
        (values, options, seed) => {
          const logits = Float32Array.from(values);
          const scaled = softmax(Array.from(logits, (value) => value / options.temperature));
          let kept = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
          if (options.topK > 0) kept = kept.slice(0, options.topK);
          const total = kept.reduce((sum, token) => sum + scaled[token]!, 0);
          let reached = 0;
          kept = kept.filter((token, i) => {
            const keep = i === 0 || reached < options.topP * total * (1 + 1e-12);
            reached += scaled[token]!;
            return keep;
          });
          kept = kept.filter((token) => scaled[token]! >= options.minP * scaled[kept[0]!]! * (1 - 1e-12));
          const token = sampleToken(logits, [], options, createRandom(seed));
          expect(kept).toContain(token);
          expect(sampleToken(logits, [], options, createRandom(seed))).toBe(token);
        },
      ),
      { seed: 11, numRuns: 400 },
    );
  });

  it('keeps a share among equals and far apart, of a vocabulary of any size', () => {
    // Of weights 1, 1, ... and e^-40 the first half, in the order of ids.
    const logits = Float32Array.from({ length: 3000 }, (_, i) => (i % 3 === 0 ? 40 : 0));
    const seen = new Set<number>();
    const random = createRandom(9);
    for (let i = 0; i < 500; i++) seen.add(sampleToken(logits, [], { temperature: 1, topP: 0.01 }, random));
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, i) => 3 * i));
    // The bins end 32 below the best; here all but one token lie further down, and make up most.
    const flat = Float32Array.from({ length: 3000 }, (_, i) => (i === 7 ? 40 : i / 3000));
    const best = frequencies(flat, { temperature: 10, topP: 0.5 }, [], 1000);
    const weights = Array.from(flat, (value) => Math.exp((value - 40) / 10));
    const total = weights.reduce((a, b) => a + b);
    let reached = weights[7]!;
    let least = 3000;
    while (reached < 0.5 * total) reached += weights[--least]!;
    expect(best.every((share, i) => share === 0 || i === 7 || i >= least)).toBe(true);
    expect(best[7]! / (weights[7]! / reached)).toBeCloseTo(1, 0);
  });

  it('leaves the logits as they are', () => {
    const logits = logitsOf(1, 2, 3);
    sampleToken(logits, [2], { temperature: 1, topK: 2, repetitionPenalty: 2 }, () => 0.5);
    expect([...logits]).toEqual([1, 2, 3]);
  });

  it('draws the last token when rounding leaves a remainder, never one without weight', () => {
    const logits = logitsOf(0, 0, Number.NEGATIVE_INFINITY);
    expect(sampleToken(logits, [], { temperature: 1 }, () => 1 - 2 ** -53)).toBe(1);
  });

  it('refuses broken logits and options with their names', () => {
    const draw = (logits: Float32Array, options: SamplerOptions = {}) =>
      codeOf(() => sampleToken(logits, [], options, () => 0));
    expect(draw(logitsOf(1, Number.NaN))).toBe('SAMPLER_LOGITS_INVALID');
    expect(draw(logitsOf(1, Number.POSITIVE_INFINITY))).toBe('SAMPLER_LOGITS_INVALID');
    expect(draw(logitsOf(Number.NEGATIVE_INFINITY))).toBe('SAMPLER_LOGITS_INVALID');
    expect(draw(logitsOf())).toBe('SAMPLER_LOGITS_INVALID');
    const invalid: SamplerOptions[] = [
      { temperature: -1 },
      { temperature: Number.NaN },
      { topK: 1.5 },
      { topP: 1.1 },
      { minP: -0.1 },
      { repetitionPenalty: 0 },
      { repetitionPenalty: 1e-320 },
      { repetitionPenalty: 1e300 },
      { seed: 0.5 },
    ];
    for (const options of invalid) expect(draw(logitsOf(1), options)).toBe('SAMPLER_OPTION');
  });
});
