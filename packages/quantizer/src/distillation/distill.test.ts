// Stages 2 to 4 on a small model: what they improve and what they leave, resuming, options that are refused.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMemorySink, createMemorySource, openContainer, validateContainer } from '@duobit/format';
import { type Engine, openEngine, type Scalar } from '@duobit/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { QuantizeOptions } from '../options.ts';
import { quantize } from '../quantize.ts';
import { makeMemoryCheckpoint, SMALL_ARCHITECTURE } from '../testing/memory-checkpoint.ts';
import type { BlockOutcome } from './block-stages.ts';
import { type DistillationOptions, resolveStages } from './options.ts';
import { train } from './train.ts';

const TINY_STORIES = new URL('../../../../fixtures/tinystories-656k/', import.meta.url);
const TEXT = Array.from(
  { length: 60 },
  (_, i) => `Once upon a time there were ${i} cats who liked to play with ${i * i} balls in the garden.`,
);

let engine: Engine;
let assets: Parameters<typeof makeMemoryCheckpoint>[1];
let folder: string;
beforeAll(async () => {
  const read = async (name: string) => new Uint8Array(await readFile(new URL(name, TINY_STORIES)));
  assets = {
    tokenizer: await read('tokenizer.json'),
    'tokenizer-config': await read('tokenizer_config.json'),
  };
  folder = await mkdtemp(join(tmpdir(), 'duobit-distill-'));
  engine = await openEngine({ device: 'cpu' });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Stages = Partial<DistillationOptions>;

const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

const WILD = { latent: 1, levels: 1, clips: 1, knee: 0 };

/** Without sensitivities, which a run of many takes long to measure. */
const ALL: Stages = {
  weights: { passes: 2, channels: 'variance' },
  activations: { passes: 1, channels: 'variance' },
  endToEnd: { passes: 1 },
};

async function run(stages: Stages, options: QuantizeOptions = {}) {
  const architecture = { ...SMALL_ARCHITECTURE, vocabularySize: 2048, contextLength: 128 };
  const sink = createMemorySink();
  const outcomes: [number, BlockOutcome][] = [];
  await quantize(makeMemoryCheckpoint(architecture, assets), join(folder, 'memory.duo'), {
    calibration: { text: TEXT, context: 32, maxWindows: 8 },
    groupSize: 32,
    workFolder: null,
    distillation: { engine, tokens: 512, ...stages },
    ...options,
    onBlock(stage, outcome) {
      outcomes.push([stage, outcome]);
      options.onBlock?.(stage, outcome);
    },
    openSink: async () => sink,
  });
  return { bytes: sink.bytes(), outcomes };
}

describe('stages 2 to 4', () => {
  it('leave every block no worse on what it was not trained on, and no tensor behind', async () => {
    // So few steps show a trend only from where nothing flips at first.
    const stages: Stages = { ...ALL, weights: { ...ALL.weights, bits: 'nearest' } };
    await run(stages);
    const before = engine.tf.memory().numTensors;
    const { bytes, outcomes } = await run(stages);
    expect(engine.tf.memory().numTensors).toBe(before);
    expect(outcomes.map(([stage, { block }]) => [stage, block])).toEqual([
      [2, 0],
      [2, 1],
      [3, 0],
      [3, 1],
      [4, 0],
    ]);
    for (const [stage, { training }] of outcomes) {
      const { losses, heldOutBefore, heldOutAfter, kept, divergences } = training;
      expect(losses.every(Number.isFinite)).toBe(true);
      expect(divergences).toEqual([]);
      expect(kept).toBe(heldOutAfter! < heldOutBefore);
      if (stage === 2) expect(mean(losses.slice(-4))).toBeLessThan(mean(losses.slice(0, 4)));
    }
    const issues = await validateContainer(createMemorySource(bytes));
    expect(issues.ok).toBe(true);
    const container = await openContainer(createMemorySource(bytes));
    const clips = container.tensorNames.map((name) => container.tensorInfo(name).activation?.clipLow);
    expect(clips.some((clip) => clip !== undefined && clip !== 1)).toBe(true);
    await container.close();
  });

  it("learn from the teacher's most likely tokens alone, and leave no tensor behind", async () => {
    const learn = (teacherTokens: number | null) => run({ endToEnd: { passes: 2, teacherTokens } });
    const whole = await learn(null);
    const before = engine.tf.memory().numTensors;
    const kept = await learn(8);
    expect(engine.tf.memory().numTensors).toBe(before);
    const [full, few] = [whole, kept].map(({ outcomes }) => outcomes[0]![1].training);
    expect(few!.losses).toHaveLength(full!.losses.length);
    expect(few!.losses.every(Number.isFinite)).toBe(true);
    // Other losses: what was kept is what training went by.
    expect(few!.losses).not.toEqual(full!.losses);
  });

  it('train relaxed bits with and without polarisation, and leave no tensor behind', async () => {
    const relaxed = { passes: 2, channels: 'variance', bits: 'relaxed' } as const;
    const train = (polarisation: number) => run({ weights: { ...relaxed, polarisation } });
    const without = await train(0);
    const before = engine.tf.memory().numTensors;
    const { bytes, outcomes } = await train(5);
    expect(engine.tf.memory().numTensors).toBe(before);
    for (const [, { training }] of [...without.outcomes, ...outcomes]) {
      expect(training.divergences).toEqual([]);
      expect(training.kept).toBe(training.heldOutAfter! < training.heldOutBefore);
    }
    // Its weight grows from 0, so the first step is the same.
    const [losses, others] = [outcomes, without.outcomes].map(([first]) => {
      const { losses, restarts } = first![1].training;
      return losses.slice(0, restarts[0]);
    });
    expect(losses!.slice(0, 2)).toEqual(others!.slice(0, 2));
    expect(losses!.at(-1)).not.toBe(others!.at(-1));
    expect((await validateContainer(createMemorySource(bytes))).ok).toBe(true);
  });

  it('train a block with nearest bits, too, where relaxed ones make it no better', async () => {
    // So far from stage 1 that one pass cannot make up for it.
    const stages: Stages = { weights: { passes: 1, latentStart: 0.9, polarisation: 0 } };
    const { outcomes } = await run(stages);
    const nearest = await run({ weights: { passes: 1, bits: 'nearest' } });
    const [first, alone] = [outcomes, nearest.outcomes].map(([outcome]) => outcome![1]);
    const { losses, restarts, divergences } = first!.training;
    expect([restarts.length, divergences]).toEqual([1, []]);
    expect(losses.slice(restarts[0])).toEqual(alone!.training.losses);
    expect(first!.training.heldOutAfter).toBe(alone!.training.heldOutAfter);
  });

  it('give the same bytes again, and others with another seed', async () => {
    const stages: Stages = { weights: { passes: 1 } };
    const first = await run(stages);
    expect(Buffer.from(first.bytes).equals((await run(stages)).bytes)).toBe(true);
    expect(Buffer.from(first.bytes).equals((await run({ ...stages, seed: 1 })).bytes)).toBe(false);
  });

  it('go on after they were cut short in any stage, with the same result', async () => {
    const whole = await run(ALL);
    for (const [stage, block] of [
      [2, 0],
      [3, 1],
    ]) {
      const workFolder = join(folder, `work-${stage}`);
      const cut = new AbortController();
      const stop = (at: number, outcome: BlockOutcome): void => {
        if (at === stage && outcome.block === block) cut.abort();
      };
      await expect(run(ALL, { workFolder, signal: cut.signal, onBlock: stop })).rejects.toMatchObject({
        code: 'ABORTED',
      });
      const { bytes, outcomes } = await run(ALL, { workFolder });
      expect(outcomes.filter(([, { resumed }]) => resumed).length).toBeGreaterThan(0);
      expect(outcomes.at(-1)![1].resumed).toBe(false);
      // What was trained before the cut is told as it was then.
      const records = (all: typeof outcomes) => all.map(([at, { training }]) => [at, training]);
      expect(records(outcomes)).toEqual(records(whole.outcomes));
      expect(Buffer.from(bytes).equals(whole.bytes)).toBe(true);
    }
  });

  it("train blocks on the teacher's stream, whichever of them are kept already", async () => {
    const stages: Stages = {
      weights: { ...ALL.weights, inputs: 'teacher' },
      activations: { ...ALL.activations, inputs: 'teacher' },
    };
    await run(stages);
    const before = engine.tf.memory().numTensors;
    const whole = await run(stages);
    expect(engine.tf.memory().numTensors).toBe(before);
    const fed = await run({ weights: ALL.weights!, activations: ALL.activations! });
    expect(Buffer.from(whole.bytes).equals(fed.bytes)).toBe(false);
    // Nothing comes before the first block, but its fit to stage 2's blocks: the first is the same either way.
    expect(whole.outcomes[0]![1].training.heldOutBefore).toBe(fed.outcomes[0]![1].training.heldOutBefore);
    const workFolder = join(folder, 'work-teacher');
    const cut = new AbortController();
    await expect(
      run(stages, { workFolder, signal: cut.signal, onBlock: (stage) => void (stage === 3 && cut.abort()) }),
    ).rejects.toMatchObject({ code: 'ABORTED' });
    const again = await run(stages, { workFolder });
    expect(again.outcomes.map(([, { resumed }]) => resumed)).toEqual([true, true, true, false]);
    expect(Buffer.from(again.bytes).equals(whole.bytes)).toBe(true);
  });

  // Steps as large as the levels themselves are far too large.
  it.each<[string, Stages]>([
    ['2', { weights: { passes: 2, clipNorm: 1e30, rates: WILD, channels: 'variance' } }],
    ['3', { activations: { passes: 2, rates: { ...WILD, latent: 0 }, channels: 'variance' } }],
    ['4', { endToEnd: { passes: 2, rates: WILD } }],
  ])('begin anew when stage %s diverges, say why, and leave no block worse', async (stage, stages) => {
    await run({ weights: { passes: 0.1 }, activations: { passes: 0.1 }, endToEnd: { passes: 0.1 } });
    const before = engine.tf.memory().numTensors;
    const { bytes, outcomes } = await run(stages);
    expect(engine.tf.memory().numTensors).toBe(before);
    for (const [, { training }] of outcomes) {
      const { divergences, kept, heldOutBefore, heldOutAfter, restarts } = training;
      expect(divergences[0]).toMatch(/^the loss rose from/);
      // In stage 2 both ways of training bits end in blocks that are no better, after some divergences each.
      expect(restarts).toHaveLength(divergences.length + (stage === '2' ? 1 : 0));
      expect(kept).toBe(heldOutAfter !== null && heldOutAfter < heldOutBefore);
    }
    if (stage !== '2') return;
    // No block came out better, so all are what stage 1 gives.
    expect(outcomes.map(([, { training }]) => training.kept)).toEqual([false, false]);
    const readAll = async (file: Uint8Array<ArrayBuffer>) => {
      const container = await openContainer(createMemorySource(file));
      const tensors = container.tensorNames.map(async (name) => (await container.readTensor(name)).planes);
      return Promise.all(tensors).finally(() => container.close());
    };
    expect(await readAll(bytes)).toEqual(await readAll((await run({})).bytes));
  });

  it('go by sensitivities, and in the last block by what is predicted, unless told otherwise', async () => {
    await run({ weights: { passes: 1 } });
    const before = engine.tf.memory().numTensors;
    const [sensitive, even] = [
      await run({ weights: { passes: 1 } }),
      await run({ weights: { passes: 1, channels: 'variance' } }),
    ].map(({ outcomes }) => outcomes.map(([, { training }]) => training.heldOutBefore));
    expect(engine.tf.memory().numTensors).toBe(before);
    // Both are shares of what the block adds, but weighed otherwise.
    expect(sensitive![0]).not.toBe(even![0]);
    expect(Math.abs(Math.log(sensitive![0]! / even![0]!))).toBeLessThan(Math.log(4));
    // A divergence of two nearly even distributions is far smaller.
    expect(sensitive![1]! / even![1]!).toBeLessThan(0.1);
  });

  it('bring what goes with their bits, unless told otherwise', () => {
    const resolve = (weights: NonNullable<Stages['weights']>) => {
      const { polarisation, latentStart, rates } = resolveStages({ engine, tokens: 1, weights }).weights!;
      return { polarisation, latentStart, latent: rates.latent };
    };
    const relaxed = resolve({});
    expect(relaxed.polarisation).toBeGreaterThan(0);
    expect(resolve({ bits: 'relaxed' })).toEqual(relaxed);
    expect(resolve({ bits: 'nearest' })).toEqual({ polarisation: 0, latentStart: 0.1, latent: 0.002 });
    const given = { polarisation: 0.5, latentStart: 0.2 };
    const rates = { latent: 0.001, levels: 0, clips: 0, knee: 0 };
    expect(resolve({ ...given, rates })).toEqual({ ...given, latent: 0.001 });
    // Bits that stay have no bitmap to push.
    const fixed = { ...rates, latent: 0 };
    expect(resolve({ rates: fixed })).toEqual({ ...relaxed, polarisation: 0, latent: 0 });
    expect(() => resolve({ rates: fixed, polarisation: 1 })).toThrow('no relaxed bitmap is trained');
  });

  it('refuse a text of one window, of which none could be held out', async () => {
    await expect(run({ weights: {}, tokens: 32 })).rejects.toMatchObject({ code: 'TEXT_TOO_SHORT' });
  });

  it.each<[Stages, string]>([
    [{ tokens: 0 }, 'distillation.tokens'],
    [{ weights: { passes: 0 } }, 'distillation.weights.passes'],
    [{ weights: { inputs: 'pupil' as 'student' } }, 'distillation.weights.inputs'],
    [{ activations: { batch: 1.5 } }, 'distillation.activations.batch'],
    [{ endToEnd: { heldOut: 0.9 } }, 'distillation.endToEnd.heldOut'],
    [
      { weights: { rates: { latent: -1, levels: 0, clips: 0, knee: 0 } } },
      'distillation.weights.rates.latent',
    ],
    [{ weights: { bits: 'soft' as 'relaxed' } }, 'distillation.weights.bits'],
    [{ weights: { bits: 'relaxed', polarisation: -1 } }, 'distillation.weights.polarisation'],
    [{ weights: { bits: 'relaxed', polarisation: Number.NaN } }, 'distillation.weights.polarisation'],
    [{ weights: { bits: 'nearest', polarisation: 1 } }, 'distillation.weights.polarisation'],
    // Stage 3 trains no bits unless it is told to.
    [{ activations: { bits: 'relaxed', polarisation: 1 } }, 'distillation.activations.polarisation'],
  ])('refuse %j', async (stages, where) => {
    await expect(run({ weights: {}, ...stages })).rejects.toMatchObject({ code: 'QUANTIZE_OPTION', where });
  });
});

describe('the training loop', () => {
  const options = { passes: 30, batches: 2, seed: 0, clipNorm: 1 };

  it('finds the least of a bowl', async () => {
    const { tf } = engine;
    const at = tf.variable(tf.tensor1d([3, -2]));
    const { losses, diverged } = await train(
      engine,
      new Map([[at, 0.3]]),
      () => tf.sum(tf.square(at)) as Scalar,
      options,
    );
    expect(diverged).toBeNull();
    expect(losses).toHaveLength(60);
    expect(losses.at(-1)).toBeLessThan(0.01 * losses[0]!);
    at.dispose();
  });

  it('stops at the first loss that is no number, and says where', async () => {
    const { tf } = engine;
    const at = tf.variable(tf.tensor1d([1]));
    let step = 0;
    const { diverged } = await train(
      engine,
      new Map([[at, 0.1]]),
      () => tf.mul(tf.sum(at), ++step === 5 ? Number.NaN : 1) as Scalar,
      options,
    );
    expect(diverged).toBe('the loss is NaN at step 5');
    at.dispose();
  });

  it('tells the loss which part of the steps is behind', async () => {
    const { tf } = engine;
    const at = tf.variable(tf.tensor1d([0.5]));
    const seen: number[] = [];
    const lossOf = (_: number, progress: number): Scalar => {
      seen.push(progress);
      return tf.sum(tf.square(at));
    };
    await train(engine, new Map([[at, 0.1]]), lossOf, options);
    expect([seen[0], seen[30], seen.length]).toEqual([0, 0.5, 60]);
    at.dispose();
  });

  it('stops when the loss rises without end', async () => {
    const { tf } = engine;
    const at = tf.variable(tf.tensor1d([1]));
    let step = 0;
    const { diverged, losses } = await train(
      engine,
      new Map([[at, 1e-6]]),
      () => tf.mul(tf.sum(at), 1.3 ** ++step) as Scalar,
      options,
    );
    expect(diverged).toMatch(/^the loss rose from/);
    expect(losses.length).toBeLessThan(30);
    at.dispose();
  });

  it('sees a rise within the first steps by what the loss was before', async () => {
    const { tf } = engine;
    const at = tf.variable(tf.tensor1d([1]));
    const lossOf = () => {
      let step = 0;
      return () => tf.mul(tf.sum(at), ++step === 1 ? 1 : 100) as Scalar;
    };
    const rates = new Map([[at, 1e-6]]);
    const { diverged, losses } = await train(engine, rates, lossOf(), { ...options, lossBefore: 2 });
    expect(diverged).toBe('the loss rose from 2.00 to 87.6');
    expect(losses).toHaveLength(8);
    const { diverged: none } = await train(engine, rates, lossOf(), { ...options, lossBefore: 50 });
    expect(none).toBeNull();
    at.dispose();
  });
});
