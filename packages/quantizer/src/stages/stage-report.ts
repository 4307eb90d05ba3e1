// What each stage did, for reports: how its blocks were trained, how far layers are from the checkpoint's, and the perplexity of the
// model as the stage left it.
import { type Backend, createModel } from '@duobit/core';
import type { ModelSource } from '@duobit/format';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { TrainingRecord } from '../distillation/retry.ts';
import { evaluateTokens } from '../evaluation/perplexity.ts';
import type { BlockLayers } from './block-store.ts';
import { quantizedSource } from './quantized-source.ts';

/** Perplexities on windows of the calibration text; embedding and head are the checkpoint's. */
export interface StagePerplexity {
  /** Of the unquantized model. */
  readonly original: number;
  /** Quantized weights, unquantized inputs. */
  readonly a16: number;
  /** 4-bit inputs. */
  readonly a4: number;
}

/** What a stage did, and how good the model was after it. */
export interface StageReport {
  /** 1 to 4 */
  readonly stage: number;
  /** One for each block, in order; for stage 4 one for the whole model; none for stage 1, which trains nothing. */
  readonly trainings: readonly TrainingRecord[];
  /** |W - W^|^2 / |W|^2 of every linear layer, by name; outlier columns are left out. */
  readonly weightErrors: ReadonlyMap<string, number>;
  /** Null unless it was asked for. */
  readonly perplexity: StagePerplexity | null;
}

/** Windows that perplexity after a stage is measured on, unless told otherwise. */
export const DEFAULT_EVALUATION_WINDOWS = 8;

/** Measures a model after each stage on the same windows. */
export class StageEvaluation {
  /** Of all windows, predicted or given. */
  readonly tokens: number;
  readonly #checkpoint: Checkpoint;
  readonly #backend: Backend;
  readonly #windows: readonly Int32Array[];
  readonly #signal: AbortSignal | undefined;
  #original: number | undefined;

  /** @param windows of at least 2 tokens, all of the same length */
  constructor(
    checkpoint: Checkpoint,
    backend: Backend,
    windows: readonly Int32Array[],
    signal: AbortSignal | undefined,
  ) {
    this.#checkpoint = checkpoint;
    this.#backend = backend;
    this.#windows = windows;
    this.#signal = signal;
    this.tokens = windows.reduce((sum, window) => sum + window.length, 0);
  }

  /** @throws DuobitError `EVALUATION_NOT_FINITE`, `ABORTED`, and those of the backend */
  async measure(load: (block: number) => Promise<BlockLayers>): Promise<StagePerplexity> {
    this.#original ??= await this.#perplexity(this.#checkpoint, 'f16');
    const source = await quantizedSource(this.#checkpoint, load);
    const a16 = await this.#perplexity(source, 'f16');
    return { original: this.#original, a16, a4: await this.#perplexity(source, 'a4') };
  }

  async #perplexity(source: ModelSource, activations: 'f16' | 'a4'): Promise<number> {
    const context = this.#windows[0]!.length;
    const model = await createModel(source, this.#backend, {
      contextLength: context,
      activations,
      tokenizer: false,
      signal: this.#signal,
    });
    try {
      const tokens = this.#windows.flatMap((window) => [...window]);
      return (await evaluateTokens(model, tokens, { context, signal: this.#signal })).perplexity;
    } finally {
      await model.dispose();
    }
  }
}

export async function measureWeightErrors(
  checkpoint: Checkpoint,
  load: (block: number) => Promise<BlockLayers>,
): Promise<Map<string, number>> {
  const errors = new Map<string, number>();
  for (let block = 0; block < checkpoint.architecture.blockCount; block++)
    for (const [name, { result }] of await load(block)) {
      const weights = await checkpoint.readF32(name);
      let error = 0;
      let squares = 0;
      for (let i = 0; i < weights.length; i++) {
        error += (weights[i]! - result.approximation[i]!) ** 2;
        squares += weights[i]! ** 2;
      }
      errors.set(name, squares === 0 ? 0 : error / squares);
    }
  return errors;
}
