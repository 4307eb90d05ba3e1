// The loop that every stage trains by: batches in shuffled order, Adam with cosine decay, and an eye on the loss.
import { createRandom } from '@duobit/core';
import { Adam, cosineDecay, type Engine, type Scalar, type Variable } from '@duobit/tfjs';
import { pause } from '../abort.ts';

export interface TrainOptions {
  readonly passes: number;
  /** Batches that there are; each step takes one. */
  readonly batches: number;
  readonly seed: number;
  /** Gradients of a step whose norm, of all together, is larger are scaled down to it. */
  readonly clipNorm: number;
  /** What the loss is about before training, so that a rise within the first steps is seen, too. */
  readonly lossBefore?: number;
}

export interface Training {
  /** Of every step. */
  readonly losses: number[];
  /** Null when all went well. */
  readonly diverged: string | null;
}

/** Where a device works by itself, losses are waited for this many steps at a time. */
const UNREAD_LOSSES = 16;
/** Losses that are averaged to tell a trend from noise. */
const TREND = 8;
/** A mean loss above this many times what it was at first is divergence. */
const TOO_MUCH = 4;

/**
 * @param rates of every variable at the first step
 * @param lossOf of a batch, differentiable in the variables; `progress` is the part of the steps that are behind
 * @param onStep step, from 1, of how many, and the last loss that is known
 */
export async function train(
  engine: Engine,
  rates: ReadonlyMap<Variable, number>,
  lossOf: (batch: number, progress: number) => Scalar,
  { passes, batches, seed, clipNorm, lossBefore = Number.POSITIVE_INFINITY }: TrainOptions,
  {
    signal,
    onStep,
  }: {
    signal?: AbortSignal | undefined;
    onStep?: ((step: number, steps: number, loss: number) => void) | undefined;
  } = {},
): Promise<Training> {
  const { tf } = engine;
  const steps = Math.max(1, Math.round(passes * batches));
  const adam = new Adam(engine, { clipNorm });
  const next = drawBatches(batches, seed);
  const variables = [...rates.keys()];
  const losses: number[] = [];
  const unread: Scalar[] = [];
  const most = engine.device === 'webgpu' ? UNREAD_LOSSES : 1;
  try {
    for (let step = 0; step < steps; step++) {
      const chosen = next();
      const decay = cosineDecay(step, steps);
      const now = new Map(variables.map((variable) => [variable, rates.get(variable)! * decay]));
      const loss = engine.step(() => {
        const { value, grads } = tf.variableGrads(() => lossOf(chosen, step / steps), variables);
        adam.apply(grads, now);
        tf.dispose(grads);
        return value;
      });
      unread.push(loss);
      if (unread.length < most && step + 1 < steps) continue;
      losses.push(...(await takeLosses(engine, unread)));
      await pause(signal);
      onStep?.(step + 1, steps, losses.at(-1)!);
      const diverged = findDivergence(losses, lossBefore);
      if (diverged) return { losses, diverged };
    }
    return { losses, diverged: null };
  } finally {
    tf.dispose(unread);
    adam.dispose();
  }
}

async function takeLosses(engine: Engine, unread: Scalar[]): Promise<number[]> {
  const values: number[] = [];
  for (const loss of unread) values.push((await loss.data())[0]!);
  engine.tf.dispose(unread);
  unread.length = 0;
  await engine.sync();
  return values;
}

function findDivergence(losses: readonly number[], lossBefore: number): string | null {
  const broken = losses.findIndex((loss) => !Number.isFinite(loss));
  if (broken >= 0) return `the loss is ${losses[broken]} at step ${broken + 1}`;
  if (losses.length < TREND) return null;
  // The first batch may be an easy one, and so may what `lossBefore` was measured on: a rise is one above both.
  const begin = Math.max(losses[0]!, lossBefore);
  const first = losses.length < 2 * TREND ? begin : Math.min(begin, mean(losses.slice(0, TREND)));
  const last = mean(losses.slice(-TREND));
  // A divergence of distributions that are the same can round to a negative number.
  return first > 0 && last > TOO_MUCH * first
    ? `the loss rose from ${first.toPrecision(3)} to ${last.toPrecision(3)}`
    : null;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Goes through all batches in an order of its own each time before one comes again. */
function drawBatches(count: number, seed: number): () => number {
  const random = createRandom(seed);
  const order = Array.from({ length: count }, (_, i) => i);
  let at = count;
  return () => {
    if (at === count) {
      for (let i = count - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      at = 0;
    }
    return order[at++]!;
  };
}
