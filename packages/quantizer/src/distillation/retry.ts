// Training that is begun anew when it diverges: from where it stood, with lower rates, a few times, or when nothing came of it, in
// another way; and the choice between what came of it and what was there before.
import { DuobitError } from '@duobit/format';
import type { Training } from './train.ts';

/** Attempts after the first. */
export const RETRIES = 3;
/** What rates are multiplied with before each of them. */
export const RETRY_RATE = 0.3;

/** What training did to a block, or in stage 4 to the model. */
export interface TrainingRecord {
  /** Of every step of every attempt, in order. NaN and infinities where it diverged. */
  readonly losses: readonly number[];
  /** Places in `losses` at which attempts after the first begin. */
  readonly restarts: readonly number[];
  /** The loss on held-out windows. */
  readonly heldOutBefore: number;
  /** Null when every attempt diverged. */
  readonly heldOutAfter: number | null;
  /** Whether what came of it is better on held-out windows, and was taken. */
  readonly kept: boolean;
  /** Why attempts were given up, one sentence each. */
  readonly divergences: readonly string[];
}

/** How something is trained. P: what moves, T: what is stored. */
export interface Trainable<P extends { dispose(): void }, T> {
  readonly before: T;
  /** A new state to move, as `before` is. */
  open(): P;
  /**
   * @param scale of all rates
   * @param lossBefore on held-out windows
   */
  train(parameters: P, scale: number, lossBefore: number): Promise<Training>;
  /** @throws DuobitError `QUANTIZE_OUT_OF_RANGE` for values that cannot be stored, which counts as divergence */
  harden(parameters: P): Promise<T>;
  /** The loss on held-out windows. */
  evaluate(state: T): Promise<number>;
}

/** What came of training, or what was there before where that is no better; and the record. */
export interface Trained<T> {
  readonly state: T;
  readonly training: TrainingRecord;
}

/** @param otherwise how it is trained once more where nothing better came of it, from where it stood */
export async function trainWithRetries<P extends { dispose(): void }, T>(
  trainable: Trainable<P, T>,
  otherwise: Trainable<P, T> | null = null,
): Promise<Trained<T>> {
  const first = await trainOneWay(trainable);
  if (first.training.kept || !otherwise) return first;
  const { state, training } = await trainOneWay(otherwise);
  const { losses, restarts, divergences, heldOutAfter } = first.training;
  return {
    state,
    training: {
      ...training,
      losses: [...losses, ...training.losses],
      restarts: [...restarts, losses.length, ...training.restarts.map((place) => losses.length + place)],
      heldOutAfter: training.heldOutAfter ?? heldOutAfter,
      divergences: [...divergences, ...training.divergences],
    },
  };
}

async function trainOneWay<P extends { dispose(): void }, T>(
  trainable: Trainable<P, T>,
): Promise<Trained<T>> {
  const { before } = trainable;
  const losses: number[] = [];
  const restarts: number[] = [];
  const divergences: string[] = [];
  const heldOutBefore = await trainable.evaluate(before);
  while (divergences.length <= RETRIES) {
    if (divergences.length > 0) restarts.push(losses.length);
    const parameters = trainable.open();
    try {
      const scale = RETRY_RATE ** divergences.length;
      const { diverged, losses: own } = await trainable.train(parameters, scale, heldOutBefore);
      losses.push(...own);
      const after = diverged ?? (await hardenAndJudge(trainable, parameters));
      if (typeof after === 'string') {
        divergences.push(after);
        continue;
      }
      const kept = after.heldOut < heldOutBefore;
      const training = { losses, restarts, heldOutBefore, heldOutAfter: after.heldOut, kept, divergences };
      return { state: kept ? after.state : before, training };
    } finally {
      parameters.dispose();
    }
  }
  const training = { losses, restarts, heldOutBefore, heldOutAfter: null, kept: false, divergences };
  return { state: before, training };
}

/** A sentence when the last step, whose effect no loss has shown, has left what cannot be stored or judged. */
async function hardenAndJudge<P extends { dispose(): void }, T>(
  { harden, evaluate }: Trainable<P, T>,
  parameters: P,
): Promise<string | { readonly state: T; readonly heldOut: number }> {
  try {
    const state = await harden(parameters);
    const heldOut = await evaluate(state);
    return Number.isFinite(heldOut) ? { state, heldOut } : `the held-out loss is ${heldOut}`;
  } catch (error) {
    if (error instanceof DuobitError && error.code === 'QUANTIZE_OUT_OF_RANGE') return error.message;
    throw error;
  }
}
