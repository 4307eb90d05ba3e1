// Windows as the batches that a step takes, uploaded once: residual streams go through the blocks as they are.
import { createRandom } from '@duobit/core';
import type { Engine, Tensor2D } from '@duobit/tfjs';
import { pause } from '../abort.ts';
import type { BlockModel, BlockValues } from './block-model.ts';

/** Rows of several windows, one window after the other. */
export interface Batch {
  readonly values: Tensor2D;
  readonly windows: number;
}

/** Batches to train on, then those to be judged on. */
export interface BatchPlan {
  /** Windows of each batch. */
  readonly batches: readonly (readonly number[])[];
  /** Batches from this one on are held out. */
  readonly trained: number;
}

/** How many windows, the last, are held out: of `windows` the part `heldOut`, but one at least, and not all. */
export function heldOutCount(windows: number, heldOut: number): number {
  return Math.min(windows - 1, Math.max(1, Math.round(windows * heldOut)));
}

/**
 * The last windows are held out, the others mixed.
 * @param heldOut part of the windows
 */
export function planBatches(windows: number, size: number, heldOut: number, seed: number): BatchPlan {
  const held = heldOutCount(windows, heldOut);
  const random = createRandom(seed);
  const order = Array.from({ length: windows - held }, (_, i) => i);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const cut = (list: readonly number[]): number[][] =>
    Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));
  const batches = cut(order);
  const last = Array.from({ length: held }, (_, i) => windows - held + i);
  return { batches: [...batches, ...cut(last)], trained: batches.length };
}

/** @param streams of each window [tokens, width] */
export function uploadBatches(
  { tf }: Engine,
  { batches }: BatchPlan,
  streams: readonly Float32Array[],
  width: number,
): Batch[] {
  return batches.map((windows) => {
    const length = streams[windows[0]!]!.length;
    const values = new Float32Array(windows.length * length);
    for (const [i, window] of windows.entries()) values.set(streams[window]!, i * length);
    return { values: tf.tensor2d(values, [values.length / width, width]), windows: windows.length };
  });
}

/** What leaves a block. @param consume disposes of each input once it is used */
export async function advance(
  model: BlockModel,
  values: BlockValues,
  batches: readonly Batch[],
  signal: AbortSignal | undefined,
  consume: boolean,
): Promise<Batch[]> {
  const out: Batch[] = [];
  for (const batch of batches) {
    await pause(signal);
    out.push({ values: model.forward(batch, values), windows: batch.windows });
    if (consume) batch.values.dispose();
  }
  return out;
}

export function disposeBatches({ tf }: Engine, ...lists: (readonly Batch[])[]): void {
  for (const list of lists) tf.dispose(list.map(({ values }) => values));
}
