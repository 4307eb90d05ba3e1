// Stage 4: the whole model at once, with 4-bit inputs, trained towards the distribution of the unquantized model over the next
// token. Beyond the paper; what brings small models back, since blocks alone do not know which of their errors matter.
import type { Engine, Variable } from '@duobit/tfjs';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { BlockLayers } from '../stages/block-store.ts';
import { disposeBatches, planBatches, uploadBatches } from './batches.ts';
import { BlockParameters } from './block-parameters.ts';
import type { EndToEndOptions } from './options.ts';
import { train } from './train.ts';
import { WholeModel } from './whole-model.ts';

export interface EndToEndRun {
  readonly engine: Engine;
  readonly checkpoint: Checkpoint;
  /** Residual streams before the first block, one a window [tokens, hiddenSize]. */
  readonly streams: readonly Float32Array[];
  /** All blocks as the stage before left them. */
  readonly before: readonly BlockLayers[];
  readonly signal?: AbortSignal | undefined;
  readonly onStep?: ((step: number, steps: number, loss: number) => void) | undefined;
}

export interface EndToEndOutcome {
  readonly blocks: readonly BlockLayers[];
  /** KL a token in nats, of every step. */
  readonly losses: readonly number[];
  /** On held-out windows. */
  readonly heldOutBefore: number;
  readonly heldOutAfter: number;
  readonly kept: boolean;
  readonly divergences: readonly string[];
}

const RETRIES = 3;
const RETRY_RATE = 0.3;

/** @throws DuobitError `ABORTED`, `ENGINE_FAILED`, and those of the checkpoint */
export async function trainEndToEnd(options: EndToEndOptions, run: EndToEndRun): Promise<EndToEndOutcome> {
  const { engine, checkpoint, before, signal } = run;
  const model = await WholeModel.open(engine, checkpoint);
  const { hiddenSize } = checkpoint.architecture;
  const plan = planBatches(run.streams.length, options.batch, options.heldOut, options.seed);
  const batches = uploadBatches(engine, plan, run.streams, hiddenSize);
  try {
    const evaluate = (blocks: readonly BlockLayers[]): Promise<number> =>
      model.evaluate(blocks, batches.slice(plan.trained), signal);
    const heldOutBefore = await evaluate(before);
    const losses: number[] = [];
    const divergences: string[] = [];
    while (divergences.length <= RETRIES) {
      const parameters = before.map((layers, block) =>
        BlockParameters.whole(engine, model.blocks[block]!, layers, options.rates.latent > 0),
      );
      try {
        const scale = RETRY_RATE ** divergences.length;
        const rates = new Map<Variable, number>();
        for (const block of parameters)
          for (const [variable, rate] of block.rates(options.rates, scale)) rates.set(variable, rate);
        const training = await train(
          engine,
          rates,
          (batch) => model.loss(parameters, batches[batch]!),
          { ...options, batches: plan.trained },
          { signal, onStep: run.onStep },
        );
        losses.push(...training.losses);
        if (training.diverged !== null) {
          divergences.push(training.diverged);
          continue;
        }
        const after: BlockLayers[] = [];
        for (const block of parameters) after.push(await block.harden());
        const heldOutAfter = await evaluate(after);
        const kept = heldOutAfter < heldOutBefore;
        return { blocks: kept ? after : before, losses, heldOutBefore, heldOutAfter, kept, divergences };
      } finally {
        for (const block of parameters) block.dispose();
      }
    }
    return { blocks: before, losses, heldOutBefore, heldOutAfter: Number.NaN, kept: false, divergences };
  } finally {
    disposeBatches(engine, batches);
    model.dispose();
  }
}
