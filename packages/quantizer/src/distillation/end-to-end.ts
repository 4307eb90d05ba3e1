// Stage 4: the whole model at once, with 4-bit inputs, trained towards the distribution of the unquantized model over the next
// token. Beyond the paper; what brings small models back, since blocks alone do not know which of their errors matter.
import { buildPlan, type ExecutionPlan, LLAMA, SLOTS } from '@duobit/core';
import {
  type Engine,
  interpret,
  type Scalar,
  type Tensor1D,
  type Tensor2D,
  type Variable,
} from '@duobit/tfjs';
import { pause } from '../abort.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { BlockLayers } from '../stages/block-store.ts';
import { type Batch, disposeBatches, planBatches, uploadBatches } from './batches.ts';
import { BlockModel, type BlockValues } from './block-model.ts';
import { BlockParameters, BlockTensors } from './block-parameters.ts';
import type { EndToEndOptions, Rates } from './options.ts';
import { type TrainingRecord, trainWithRetries } from './retry.ts';
import { train } from './train.ts';

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
  /** Losses are KL a token in nats. */
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

/** Teacher and student share blocks' plans, norms and head. */
class WholeModel {
  readonly blocks: readonly BlockModel[];
  readonly #engine: Engine;
  readonly #head: ExecutionPlan;
  readonly #teacher: ReadonlyMap<string, Tensor2D>;
  readonly #norm: Tensor1D;
  readonly #matrix: Tensor2D;

  static async open(engine: Engine, checkpoint: Checkpoint): Promise<WholeModel> {
    const { blockCount, tiedHead } = checkpoint.architecture;
    const read = async (name: string): Promise<Tensor2D> =>
      engine.tf.tensor2d(
        await checkpoint.readF32(name),
        checkpoint.tensorInfo(name).shape as [number, number],
      );
    const blocks: BlockModel[] = [];
    const teacher = new Map<string, Tensor2D>();
    for (let block = 0; block < blockCount; block++) {
      const model = await BlockModel.open(engine, checkpoint, block);
      blocks.push(model);
      for (const name of model.linear) teacher.set(name, await read(name));
    }
    const norm = engine.tf.tensor1d(await checkpoint.readF32(LLAMA.finalNorm));
    const head = await read(tiedHead ? LLAMA.embedding : LLAMA.head);
    return new WholeModel(engine, buildPlan(checkpoint, { section: 'head' }), blocks, teacher, norm, head);
  }

  private constructor(
    engine: Engine,
    head: ExecutionPlan,
    blocks: readonly BlockModel[],
    teacher: ReadonlyMap<string, Tensor2D>,
    norm: Tensor1D,
    matrix: Tensor2D,
  ) {
    this.#engine = engine;
    this.#head = head;
    this.blocks = blocks;
    this.#teacher = teacher;
    this.#norm = norm;
    this.#matrix = matrix;
  }

  /** Mean KL a token of a batch, differentiable in the parameters. */
  loss(parameters: readonly BlockParameters[], batch: Batch): Scalar {
    const { tf, operations } = this.#engine;
    const target = this.#teach(batch);
    const logits = this.#run(batch, (block) => parameters[block]!.open());
    return tf.mean(operations.distillationLoss(target, logits));
  }

  /** The same of blocks as they are stored, over all batches. */
  async evaluate(
    blocks: readonly BlockLayers[],
    batches: readonly Batch[],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { tf, operations } = this.#engine;
    const tensors = blocks.map((layers, i) => new BlockTensors(this.#engine, this.blocks[i]!, layers, 'a4'));
    let sum = 0;
    let windows = 0;
    try {
      for (const batch of batches) {
        await pause(signal);
        const loss = tf.tidy(() => {
          const logits = this.#run(batch, (block) => tensors[block]!);
          return tf.mean(operations.distillationLoss(this.#teach(batch), logits));
        });
        sum += (await loss.data())[0]! * batch.windows;
        windows += batch.windows;
        loss.dispose();
      }
      await this.#engine.sync();
      return sum / windows;
    } finally {
      for (const block of tensors) block.dispose();
    }
  }

  dispose(): void {
    for (const block of this.blocks) block.dispose();
    this.#engine.tf.dispose([...this.#teacher.values(), this.#norm, this.#matrix]);
  }

  #teach(batch: Batch): Tensor2D {
    const weights = (name: string): Tensor2D => this.#teacher.get(name)!;
    return this.#engine.tf.tidy(() => this.#run(batch, () => ({ weights, quantizers: null })));
  }

  /** Logits of every row. */
  #run({ values, windows }: Batch, of: (block: number) => BlockValues): Tensor2D {
    let stream = values;
    for (const [block, model] of this.blocks.entries())
      stream = model.forward({ values: stream, windows }, of(block));
    const slots = new Map([[SLOTS.residual as string, stream]]);
    interpret(
      this.#engine.operations,
      this.#head,
      slots,
      { windows, tokens: values.shape[0] / windows },
      {
        weight: (name) => (name === LLAMA.finalNorm ? this.#norm : this.#matrix),
        quantizer: () => null,
      },
    );
    return slots.get(SLOTS.logits)!;
  }
}
