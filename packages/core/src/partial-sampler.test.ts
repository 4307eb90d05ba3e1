// Every choice from a part of the logits is the one from all of them: checked with candidates, with sums that are rounded otherwise, and with
// random numbers where rounding decides.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exponential } from './exponential.ts';
import { adjustLogits } from './logit-adjustments.ts';
import { choosePartialSampler, type DistantLogits } from './partial-sampler.ts';
import { createRandom } from './random.ts';
import { type SamplerOptions, sampleToken } from './sampler.ts';

const PART = 64;

interface Reads {
  /** 'best', 'sums', 'part', 'all', or of how many candidates. */
  readonly made: (string | number)[];
  readonly logits: DistantLogits;
}

/** Logits as a device has them, whose sums are taken backwards and are off by some last places. */
function distantOf(values: Float32Array, off = 0): Reads {
  const made: Reads['made'] = [];
  const nan = (i: number) => Number(Number.isNaN(values[i]!));
  const order = Array.from(values.keys()).sort(
    (a, b) => nan(b) - nan(a) || (values[a] === values[b] ? a - b : values[b]! - values[a]!),
  );
  const highest = values[order[0]!]!;
  const logits: DistantLogits = {
    vocabularySize: values.length,
    best: async () => {
      made.push('best');
      return { index: order[0]!, value: highest };
    },
    top: async (count) => {
      made.push(count);
      const indices = Uint32Array.from(order.slice(0, count));
      return { indices, values: Float32Array.from(indices, (i) => values[i]!) };
    },
    sums: async (temperature) => {
      made.push('sums');
      const sums = new Float64Array(Math.ceil(values.length / PART));
      for (let i = values.length - 1; i >= 0; i--)
        sums[Math.floor(i / PART)]! += Math.exp((values[i]! - highest) / temperature);
      return { highest, partLength: PART, sums: sums.map((sum) => sum * (1 + off * Number.EPSILON)) };
    },
    part: async (first, count) => {
      made.push('part');
      return values.slice(first, first + count);
    },
    all: async () => {
      made.push('all');
      return values;
    },
  };
  return { made, logits };
}

/** The token, and what was read for it. */
async function sample(
  values: Float32Array,
  options: SamplerOptions,
  random: () => number,
  { history = [] as readonly number[], allowed = null as Int32Array | null, off = 0, hasSums = true } = {},
) {
  const { made, logits } = distantOf(values, off);
  const about = { history: new Set(history), allowed, random };
  const sampler = choosePartialSampler(options, about, { vocabularySize: values.length, hasSums });
  if (!sampler) return { token: null, made };
  const choose = await sampler(logits);
  return { token: choose(), made };
}

/** Lets nearly all or hardly any tokens through, and the last, which is finite. */
function maskOf(size: number, seed: number): Int32Array {
  const random = createRandom(seed);
  const share = random() < 0.5 ? 0.9 : 0.02;
  const mask = new Int32Array(Math.ceil(size / 32));
  for (let token = 0; token < size; token++)
    if (token === size - 1 || random() < share) mask[token >> 5]! |= 1 << (token & 31);
  return mask;
}

/** Like a language model's: a few stand out, of many. */
function peaked(size: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: size }, () => -2 * Math.log(random() + 1e-9) - 6 * random());
}

describe('choosePartialSampler', () => {
  it('chooses as sampleToken does from all logits, ties and penalties included', async () => {
    await fc.assert(
      fc.asyncProperty(
        // Few values, so that many are equal.
        fc.array(fc.oneof(fc.integer({ min: -6, max: 6 }), fc.constant(Number.NEGATIVE_INFINITY)), {
          minLength: 12,
          maxLength: 400,
          size: 'max',
        }),
        fc.uniqueArray(fc.nat(59), { maxLength: 6 }),
        fc.record({
          temperature: fc.constantFrom(0, 0.3, 1, 4),
          topK: fc.constantFrom(0, 0, 1, 2, 5),
          topP: fc.constantFrom(0, 0.2, 0.7, 1, 1),
          minP: fc.constantFrom(0, 0, 0.1, 0.9, 1),
          repetitionPenalty: fc.constantFrom(1, 1, 1.1, 3),
        }),
        fc.constantFrom(-40, 0, 40),
        fc.option(fc.integer(), { freq: 2 }),
        async (values, history, options, off, mask) => {
          const logits = Float32Array.from([...values, 2]);
          const allowed = mask === null ? null : maskOf(logits.length, mask);
          const [all, few] = [createRandom(5), createRandom(5)];
          for (let i = 0; i < 10; i++) {
            const { token } = await sample(logits, options, few, { history, allowed, off });
            fc.pre(token !== null);
            const adjusted = adjustLogits(logits, {}, new Map(), allowed);
            expect(token).toBe(sampleToken(adjusted, history, options, all));
          }
        },
      ),
      { seed: 4, numRuns: 500 },
    );
  });

  it('reads no more than it takes', async () => {
    const logits = peaked(3000, 1);
    const long = Array.from({ length: 520 }, (_, i) => i);
    for (const [options, reads, history] of [
      [{}, ['best']],
      [{ repetitionPenalty: 1.2 }, [3], [3, 4]],
      [{ temperature: 1, topK: 40, topP: 0.9, minP: 0.1 }, [41]],
      [{ temperature: 1, topK: 40, repetitionPenalty: 1.2 }, [43], [3, 4]],
      [{ temperature: 1 }, ['sums', 'part']],
      [{ temperature: 0.6, topP: 0.5 }, ['sums', 128]],
      [{ temperature: 0.6, topP: 0.5, minP: 0.1 }, ['sums', 128]],
      [{ temperature: 1, topP: 0.99 }, ['sums', 128, 512]],
      [{ temperature: 1, topP: 0.999 }, ['sums', 128, 512, 'all']],
      [{ temperature: 1, minP: 0.01 }, [128]],
      [{ temperature: 1, minP: 1e-4 }, [128, 512]],
      [{ temperature: 1, minP: 1e-6 }, [128, 512, 'all']],
      // All from the beginning.
      [{ temperature: 1, topK: 512 }, []],
      [{ temperature: 1, topK: 40, repetitionPenalty: 0.5 }, []],
      [{ temperature: 1, topK: 40, repetitionPenalty: 1.2 }, [], long],
      [{ temperature: 1, topP: 0.9, repetitionPenalty: 1.2 }, []],
      [{ temperature: 1, minP: 0.1, repetitionPenalty: 1.2 }, []],
    ] as const satisfies (readonly [SamplerOptions, readonly (string | number)[], (readonly number[])?])[]) {
      for (let seed = 0; seed < 20; seed++) {
        const { made, token } = await sample(logits, options, createRandom(seed), { history: history ?? [] });
        expect([options, made]).toEqual([options, reads]);
        if (token !== null)
          expect(token).toBe(sampleToken(logits, history ?? [], options, createRandom(seed)));
      }
    }
  });

  it('needs sums for a temperature alone and for top-p', async () => {
    const logits = peaked(3000, 2);
    for (const options of [{ temperature: 1 }, { temperature: 1, topP: 0.5 }])
      expect((await sample(logits, options, createRandom(0), { hasSums: false })).made).toEqual([]);
    expect(
      (await sample(logits, { temperature: 1, minP: 0.1 }, createRandom(0), { hasSums: false })).made,
    ).toEqual([128]);
  });

  it('reads all where rounding decides, and nowhere else', async () => {
    const logits = peaked(1000, 3);
    const weights = Array.from(logits, (value) => Math.exp(value - Math.max(...logits)));
    const total = weights.reduce((a, b) => a + b);
    let below = 0;
    for (const [token, weight] of weights.entries()) {
      if (token % 7 === 0)
        for (const [distance, isClear] of [
          [0, false],
          [1e-15, false],
          [-1e-15, false],
          [weight / total / 2, true],
        ] as const)
          for (const off of [-60, 60]) {
            const share = Math.min(Math.max(below / total + distance, 0), 1 - 2 ** -53);
            const found = await sample(logits, { temperature: 1 }, () => share, { off });
            expect(found.made.includes('all')).toBe(!isClear);
            expect(found.token).toBe(sampleToken(logits, [], { temperature: 1 }, () => share));
          }
      below += weight;
    }
    // Half of four equal weights, to the last place.
    const equal = Float32Array.from({ length: 600 }, (_, i) => (i % 150 === 0 ? 0 : -1000));
    const { made, token } = await sample(equal, { temperature: 1, topP: 0.5 }, () => 0.7);
    expect(made).toEqual(['sums', 128, 512, 'all']);
    expect(token).toBe(sampleToken(equal, [], { temperature: 1, topP: 0.5 }, () => 0.7));
    expect((await sample(equal, { temperature: 1, topP: 0.51 }, () => 0.7)).made).toEqual(['sums', 128]);
  });

  it('reads candidates under a mask, and all where too few of them may come', async () => {
    const logits = peaked(3000, 6);
    const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]!);
    const allow = (...tokens: number[]): Int32Array => {
      const mask = new Int32Array(Math.ceil(3000 / 32));
      for (const token of tokens) mask[token >> 5]! |= 1 << (token & 31);
      return mask;
    };
    const [near, far] = [allow(...order.slice(100)), allow(...order.slice(600))];
    for (const [options, allowed, reads, history] of [
      [{}, near, [128]],
      [{ repetitionPenalty: 2 }, near, [128], [order[100]!, order[101]!]],
      [{ temperature: 1, topK: 20 }, near, [128]],
      [{ temperature: 1, topK: 30 }, near, [128, 'all']],
      [{ temperature: 1, topK: 100 }, near, [512]],
      [{ temperature: 1, minP: 0.9 }, near, [128]],
      [{ temperature: 1, minP: 0.3 }, near, [128, 512]],
      [{}, far, [128, 'all']],
      [{ temperature: 1, minP: 0.5 }, far, [128, 512, 'all']],
      [{ temperature: 1 }, near, []],
      [{ temperature: 1, topP: 0.9 }, near, []],
    ] as const satisfies (readonly [SamplerOptions, Int32Array, (string | number)[], number[]?])[]) {
      const { made, token } = await sample(logits, options, createRandom(1), {
        history: history ?? [],
        allowed,
      });
      expect([options, made]).toEqual([options, reads]);
      const adjusted = adjustLogits(logits, {}, new Map(), allowed);
      if (token !== null) expect(token).toBe(sampleToken(adjusted, history ?? [], options, createRandom(1)));
    }
  });

  it('takes a weight for less than min-p only where the last places do not decide', async () => {
    const logits = Float32Array.from({ length: 200 }, (_, i) => (i === 50 ? 0 : -1));
    for (const [part, reads] of [
      [1 + 4 * Number.EPSILON, [128, 'all']],
      [1 + 32 * Number.EPSILON, [128]],
    ] as const) {
      const options = { temperature: 1, minP: exponential(-1) * part };
      const { made, token } = await sample(logits, options, () => 0.3);
      expect([made, token]).toEqual([reads, sampleToken(logits, [], options, () => 0.3)]);
    }
  });

  it('draws one random number a token above temperature 0, and none at it', async () => {
    const logits = peaked(3000, 4);
    for (const [options, draws] of [
      [{}, 0],
      [{ temperature: 1 }, 1],
      [{ temperature: 1, topP: 0.5 }, 1],
      [{ temperature: 1, topP: 0.9999 }, 1],
      [{ temperature: 1, minP: 0.5 }, 1],
      [{ temperature: 1, topK: 3 }, 1],
    ] as const) {
      let drawn = 0;
      await sample(logits, options, () => {
        drawn++;
        return 0.3;
      });
      expect(drawn).toBe(draws);
    }
  });

  it('refuses logits that are not numbers, by their place among all, where the token is drawn', async () => {
    for (const broken of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const logits = peaked(3000, 5);
      logits[2070] = broken;
      for (const options of [
        {},
        { temperature: 1 },
        { temperature: 1, topK: 1 },
        { temperature: 1, topP: 0.5 },
        { temperature: 1, minP: 0.5 },
      ]) {
        const { logits: distant } = distantOf(logits);
        const about = { history: new Set<number>(), allowed: null, random: () => 0.5 };
        const choose = await choosePartialSampler(options, about, { vocabularySize: 3000, hasSums: true })!(
          distant,
        );
        expect(choose).toThrow(`token 2070 is ${broken}`);
      }
    }
    const none = new Float32Array(3000).fill(Number.NEGATIVE_INFINITY);
    await expect(sample(none, { temperature: 1 }, () => 0.5)).rejects.toThrow(
      'none of 3000 logits is finite',
    );
  });
});
