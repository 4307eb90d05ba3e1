// What is done after divergence, on something small that is trained: a number which is to become 0.
import { DuobitError } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { RETRY_RATE, type Trainable, trainWithRetries } from './retry.ts';
import type { Training } from './train.ts';

interface Parameters {
  value: number;
  disposed: boolean;
  dispose(): void;
}

const WELL: Training = { losses: [2, 1], diverged: null };
const BADLY: Training = { losses: [2, Number.NaN], diverged: 'the loss is NaN at step 2' };

/** @param outcomes of each attempt; the number moves to `to` even when training diverges */
function makeTrainable(
  outcomes: readonly Training[],
  to = 1,
  rest: Partial<Trainable<Parameters, number>> = {},
) {
  const opened: Parameters[] = [];
  const begun: number[] = [];
  const scales: number[] = [];
  const trainable: Trainable<Parameters, number> = {
    before: 3,
    open() {
      const parameters = {
        value: 3,
        disposed: false,
        dispose: () => {
          parameters.disposed = true;
        },
      };
      opened.push(parameters);
      return parameters;
    },
    async train(parameters, scale) {
      begun.push(parameters.value);
      scales.push(scale);
      parameters.value = to;
      return outcomes[scales.length - 1] ?? BADLY;
    },
    harden: async ({ value }) => value,
    evaluate: async (value) => Math.abs(value),
    ...rest,
  };
  return { trainable, opened, begun, scales };
}

describe('training with retries', () => {
  it('goes another way where nothing better came of the first, and only there', async () => {
    const worse = makeTrainable([BADLY, WELL], 4);
    const other = makeTrainable([WELL], 2);
    const { state, training } = await trainWithRetries(worse.trainable, other.trainable);
    expect(state).toBe(2);
    expect(training).toEqual({
      losses: [2, Number.NaN, 2, 1, 2, 1],
      restarts: [2, 4],
      heldOutBefore: 3,
      heldOutAfter: 2,
      kept: true,
      divergences: [BADLY.diverged],
    });
    expect([...worse.opened, ...other.opened].every(({ disposed }) => disposed)).toBe(true);
    expect(other.begun).toEqual([3]);
    const unused = makeTrainable([]);
    const better = await trainWithRetries(makeTrainable([WELL]).trainable, unused.trainable);
    expect([better.state, better.training.restarts, unused.opened.length]).toEqual([1, [], 0]);
  });

  it('leaves everything as it was where neither way is better, and tells the last that could be judged', async () => {
    const [one, other] = [makeTrainable([WELL], 5), makeTrainable([])];
    const { state, training } = await trainWithRetries(one.trainable, other.trainable);
    expect(state).toBe(3);
    expect([training.kept, training.heldOutAfter, training.restarts.length]).toEqual([false, 5, 4]);
  });

  it('takes what one attempt gives when that is better', async () => {
    const { trainable, opened, scales } = makeTrainable([WELL]);
    const { state, training } = await trainWithRetries(trainable);
    expect(state).toBe(1);
    expect(training).toEqual({
      losses: [2, 1],
      restarts: [],
      heldOutBefore: 3,
      heldOutAfter: 1,
      kept: true,
      divergences: [],
    });
    expect(scales).toEqual([1]);
    expect(opened.map(({ disposed }) => disposed)).toEqual([true]);
  });

  it('begins anew from where it stood, with lower rates, and keeps the reasons', async () => {
    const { trainable, opened, begun, scales } = makeTrainable([BADLY, BADLY, WELL]);
    const { state, training } = await trainWithRetries(trainable);
    expect(state).toBe(1);
    expect(begun).toEqual([3, 3, 3]);
    expect(scales).toEqual([1, RETRY_RATE, RETRY_RATE ** 2]);
    expect(RETRY_RATE).toBe(0.3);
    expect(training.divergences).toEqual([BADLY.diverged, BADLY.diverged]);
    expect(training.losses).toEqual([2, Number.NaN, 2, Number.NaN, 2, 1]);
    expect(training.restarts).toEqual([2, 4]);
    expect(training.kept).toBe(true);
    expect(opened.every(({ disposed }) => disposed)).toBe(true);
  });

  it('gives up after three, and leaves what was there', async () => {
    const { trainable, opened } = makeTrainable([]);
    const { state, training } = await trainWithRetries(trainable);
    expect(state).toBe(3);
    expect(opened).toHaveLength(4);
    expect(opened.every(({ disposed }) => disposed)).toBe(true);
    expect(training).toMatchObject({ heldOutBefore: 3, heldOutAfter: null, kept: false });
    expect(training.divergences).toHaveLength(4);
    expect(training.restarts).toEqual([2, 4, 6]);
  });

  it.each([-4, 3])('leaves what was there when training ends at %d, which is no better', async (to) => {
    const { state, training } = await trainWithRetries(makeTrainable([WELL], to).trainable);
    expect(state).toBe(3);
    expect(training).toMatchObject({ kept: false, heldOutAfter: Math.abs(to), divergences: [] });
  });

  it('counts what cannot be stored as divergence', async () => {
    let attempts = 0;
    const { trainable } = makeTrainable([WELL, WELL], 1, {
      harden: async ({ value }) => {
        if (++attempts === 1) throw new DuobitError('QUANTIZE_OUT_OF_RANGE', 'level 70000 is beyond f16');
        return value;
      },
    });
    const { state, training } = await trainWithRetries(trainable);
    expect(state).toBe(1);
    expect(training.divergences).toEqual(['level 70000 is beyond f16']);
  });

  it('counts a held-out loss that is no number as divergence', async () => {
    const { trainable } = makeTrainable([WELL, WELL, WELL, WELL], Number.NaN);
    const { state, training } = await trainWithRetries(trainable);
    expect(state).toBe(3);
    expect(training.divergences[0]).toBe('the held-out loss is NaN');
    expect(training.divergences).toHaveLength(4);
  });

  it('passes other errors on, and holds nothing', async () => {
    const { trainable, opened } = makeTrainable([WELL], 1, {
      harden: async () => {
        throw new DuobitError('ABORTED', 'stopped');
      },
    });
    await expect(trainWithRetries(trainable)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(opened.map(({ disposed }) => disposed)).toEqual([true]);
  });
});
