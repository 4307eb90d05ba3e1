// How much of the logits a step reads: what sampling looks at where it can be searched, or all.
import { describe, expect, it } from 'vitest';
import type { LogitAdjustments } from './logit-adjustments.ts';
import type { DistantLogits } from './partial-sampler.ts';
import type { SamplerOptions } from './sampler.ts';
import { createTokenStep, type StepReader } from './token-step.ts';

const LOGITS = Float32Array.from({ length: 600 }, (_, i) => Math.sin(i));
const ORDER = Array.from(LOGITS.keys()).sort((a, b) => LOGITS[b]! - LOGITS[a]! || a - b);

/** Which reads a step made, and the token that came of it. */
async function readsOf(
  options: SamplerOptions & LogitAdjustments & { keepsLogits?: boolean },
  { searches = true, hasSums = true, allowed = null as Int32Array | null } = {},
) {
  const reads: (number | string)[] = [];
  const tell = <T>(read: number | string, found: T) => {
    reads.push(read);
    return Promise.resolve(found);
  };
  const top = (count: number) => {
    const indices = Uint32Array.from(ORDER.slice(0, count));
    return { indices, values: Float32Array.from(indices, (i) => LOGITS[i]!) };
  };
  const weights = LOGITS.map((value) => Math.exp(value - LOGITS[ORDER[0]!]!));
  const distant: DistantLogits = {
    vocabularySize: LOGITS.length,
    best: () => tell('best', { index: ORDER[0]!, value: LOGITS[ORDER[0]!]! }),
    top: (count) => tell(count, top(count)),
    sums: () =>
      tell('sums', {
        highest: LOGITS[ORDER[0]!]!,
        partLength: 600,
        sums: Float64Array.of(weights.reduce((a, b) => a + b)),
      }),
    part: (first, count) => tell('part', LOGITS.slice(first, first + count)),
    all: () => tell('row', LOGITS),
  };
  const reader: StepReader = {
    vocabularySize: LOGITS.length,
    step: () => tell('all', LOGITS),
    search: searches ? (find) => () => find(distant) : null,
    hasSums,
  };
  const seen = { seen: new Set([3, 4]), counts: new Map([[ORDER[0]!, 2]]) };
  const step = createTokenStep(reader, { keepsLogits: false, ...options });
  const choice = await step([3, 4], 0, seen, allowed);
  return { reads, token: choice!.choose(), logits: choice!.logits };
}

describe('createTokenStep', () => {
  it('reads as little as sampling needs, and chooses the same token as from all logits', async () => {
    for (const [options, reads] of [
      [{}, ['best']],
      [{ temperature: 1, topK: 40 }, [41]],
      [{ temperature: 1 }, ['sums', 'part']],
      [{ temperature: 1, topK: 40, repetitionPenalty: 0.5 }, ['all']],
    ] as const) {
      const found = await readsOf(options);
      expect(found.reads).toEqual(reads);
      expect(found.token).toBe((await readsOf(options, { searches: false })).token);
    }
    expect((await readsOf({ temperature: 1 }, { hasSums: false })).reads).toEqual(['all']);
  });

  it('gives nothing when the model was stopped', async () => {
    const none = async () => null;
    const reader: StepReader = { vocabularySize: 9, step: none, search: () => none, hasSums: true };
    for (const options of [{}, { temperature: 1 }, { temperature: 1, topK: 2 }])
      for (const keepsLogits of [false, true]) {
        const step = createTokenStep(reader, { ...options, keepsLogits });
        expect(await step([1], 0, { seen: new Set([1]), counts: new Map() }, null)).toBeNull();
      }
  });

  it('reads all for what changes logits, for what a mask lets through of all, and where they are wanted, and otherwise keeps none', async () => {
    const [best, second, third] = ORDER as [number, number, number];
    expect((await readsOf({})).logits).toBeNull();
    const kept = await readsOf({ keepsLogits: true });
    expect(kept).toMatchObject({ reads: ['all'], token: best, logits: LOGITS });
    expect(await readsOf({ presencePenalty: 0, frequencyPenalty: 0, logitBias: {} })).toMatchObject({
      reads: ['best'],
    });
    expect(await readsOf({ presencePenalty: 1 })).toMatchObject({ reads: ['all'], token: second });
    expect(await readsOf({ logitBias: { [third]: 3 } })).toMatchObject({ reads: ['all'], token: third });
    const mask = new Int32Array(Math.ceil(LOGITS.length / 32));
    mask[third >> 5]! |= 1 << (third & 31);
    const masked = await readsOf({ temperature: 1 }, { allowed: mask });
    expect(masked).toMatchObject({ reads: ['all'], token: third });
    expect(await readsOf({}, { allowed: mask })).toMatchObject({ reads: [128], token: third });
  });
});
