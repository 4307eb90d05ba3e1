// How much of the logits a step reads: one token, some of the most likely, or all, by what sampling looks at.
import { describe, expect, it } from 'vitest';
import type { LogitAdjustments } from './logit-adjustments.ts';
import type { SamplerOptions } from './sampler.ts';
import { createTokenStep, type StepReader } from './token-step.ts';

const LOGITS = Float32Array.from({ length: 600 }, (_, i) => Math.sin(i));

/** Which reads a step made, and the token that came of it. */
async function readsOf(
  options: SamplerOptions & LogitAdjustments & { keepsLogits?: boolean },
  searches = true,
  history: readonly number[] = [3, 4],
  allowed: Int32Array | null = null,
) {
  const reads: (number | string)[] = [];
  const order = Array.from(LOGITS.keys()).sort((a, b) => LOGITS[b]! - LOGITS[a]! || a - b);
  const reader: StepReader = {
    vocabularySize: LOGITS.length,
    step: async () => {
      reads.push('all');
      return LOGITS;
    },
    stepBest: searches
      ? async () => {
          reads.push('best');
          return order[0]!;
        }
      : null,
    stepTop: searches
      ? (count) => async () => {
          reads.push(count);
          const indices = Uint32Array.from(order.slice(0, count));
          return { indices, values: Float32Array.from(indices, (i) => LOGITS[i]!) };
        }
      : null,
  };
  const seen = { seen: new Set(history), counts: new Map([[order[0]!, 2]]) };
  const step = createTokenStep(reader, { keepsLogits: false, ...options });
  const choice = await step([3, 4], 0, seen, allowed);
  return { reads, token: choice!.choose(), logits: choice!.logits, order };
}

describe('createTokenStep', () => {
  it('reads as little as sampling needs, and chooses the same token as from all logits', async () => {
    const long = Array.from({ length: 520 }, (_, i) => i);
    for (const [options, reads, history] of [
      [{}, ['best'], [3]],
      [{ temperature: 1, topK: 40 }, [41], [3]],
      [{ temperature: 1, topK: 40, repetitionPenalty: 1.2 }, [43], [3, 4]],
      [{ repetitionPenalty: 1.2 }, [3], [3, 4]],
      [{ temperature: 1 }, ['all'], [3]],
      [{ temperature: 1, topK: 512 }, ['all'], [3]],
      [{ temperature: 1, topK: 40, repetitionPenalty: 0.5 }, ['all'], [3]],
      [{ temperature: 1, topK: 40, repetitionPenalty: 1.2 }, ['all'], long],
    ] as const) {
      const found = await readsOf(options, true, history);
      expect(found.reads).toEqual(reads);
      expect(found.token).toBe((await readsOf(options, false, history)).token);
    }
  });

  it('gives nothing when the model was stopped', async () => {
    const none = async () => null;
    const reader = { vocabularySize: 9, step: none, stepBest: none, stepTop: () => none };
    for (const options of [{}, { temperature: 1 }, { temperature: 1, topK: 2 }])
      for (const keepsLogits of [false, true]) {
        const step = createTokenStep(reader, { ...options, keepsLogits });
        expect(await step([1], 0, { seen: new Set([1]), counts: new Map() }, null)).toBeNull();
      }
  });

  it('reads all for what changes logits, for a mask, and where they are wanted, and otherwise keeps none', async () => {
    const plain = await readsOf({});
    const [best, second, third] = plain.order as [number, number, number];
    expect(plain.logits).toBeNull();
    const kept = await readsOf({ keepsLogits: true });
    expect(kept).toMatchObject({ reads: ['all'], token: best, logits: LOGITS });
    expect(await readsOf({ presencePenalty: 0, frequencyPenalty: 0, logitBias: {} })).toMatchObject({
      reads: ['best'],
    });
    expect(await readsOf({ presencePenalty: 1 })).toMatchObject({ reads: ['all'], token: second });
    expect(await readsOf({ logitBias: { [third]: 3 } })).toMatchObject({ reads: ['all'], token: third });
    const mask = new Int32Array(Math.ceil(LOGITS.length / 32));
    mask[third >> 5]! |= 1 << (third & 31);
    const masked = await readsOf({ temperature: 1, topK: 40 }, true, [3, 4], mask);
    expect(masked).toMatchObject({ reads: ['all'], token: third });
  });
});
