// Stage 4: the whole model at once, with 4-bit inputs, trained towards the distribution of the unquantized model over the next
// token. Beyond the paper; what brings small models back, since blocks alone do not know which of their errors matter.
import type { Engine, Variable } from '@duobit/tfjs';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { BlockLayers } from '../stages/block-store.ts';
import { disposeBatches, planBatches, uploadBatches } from './batches.ts';
import type { BlockModel } from './block-model.ts';
import { BlockParameters } from './block-parameters.ts';
import type { EndToEndOptions, Rates } from './options.ts';
import { type TrainingRecord, trainWithRetries } from './retry.ts';
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
  /** Losses are KL a token in nats; of the tokens kept and the rest, where `teacherTokens` says how many. */
  readonly training: TrainingRecord;
}

/** @throws DuobitError `ABORTED`, `ENGINE_FAILED`, and those of the checkpoint */
export async function trainEndToEnd(options: EndToEndOptions, run: EndToEndRun): Promise<EndToEndOutcome> {
  const { engine, checkpoint, before, signal } = run;
  const model = await WholeModel.open(engine, checkpoint);
  const { hiddenSize } = checkpoint.architecture;
  const plan = planBatches(run.streams.length, options.batch, options.heldOut, options.seed);
  const batches = uploadBatches(engine, plan, run.streams, hiddenSize);
  try {
    if (options.teacherTokens !== null) await model.cacheTeacher(batches, options.teacherTokens, signal);
    const { state: blocks, training } = await trainWithRetries<ModelParameters, readonly BlockLayers[]>({
      before,
      open: () => new ModelParameters(engine, model.blocks, before, options.rates.latent > 0),
      train: ({ blocks, rates }, scale, lossBefore) =>
        train(
          engine,
          rates(options.rates, scale),
          (batch) => model.loss(blocks, batches[batch]!),
          { ...options, batches: plan.trained, lossBefore },
          { signal, onStep: run.onStep },
        ),
      harden: (parameters) => parameters.harden(),
      evaluate: (state) => model.evaluate(state, batches.slice(plan.trained), signal),
    });
    return { blocks, training };
  } finally {
    disposeBatches(engine, batches);
    model.dispose();
  }
}

/** What training moves in all blocks. */
class ModelParameters {
  readonly blocks: readonly BlockParameters[];

  constructor(
    engine: Engine,
    models: readonly BlockModel[],
    before: readonly BlockLayers[],
    latent: boolean,
  ) {
    this.blocks = before.map((layers, block) =>
      BlockParameters.whole(engine, models[block]!, layers, latent),
    );
  }

  readonly rates = (rates: Rates, scale: number): Map<Variable, number> =>
    new Map(this.blocks.flatMap((block) => [...block.rates(rates, scale)]));

  async harden(): Promise<BlockLayers[]> {
    const after: BlockLayers[] = [];
    for (const block of this.blocks) after.push(await block.harden());
    return after;
  }

  dispose(): void {
    for (const block of this.blocks) block.dispose();
  }
}
