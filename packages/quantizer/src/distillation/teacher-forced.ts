// Stages 2 and 3 on the teacher's stream alone: a block is fed what the unquantized blocks before it give, so what becomes of it
// depends on no other block, and blocks can be trained in any order, on several machines.
import type { BlockLayers } from '../stages/block-store.ts';
import { type Batch, type BatchPlan, disposeBatches, planBatches, uploadBatches } from './batches.ts';
import { BlockModel } from './block-model.ts';
import {
  advanceTeacher,
  type BlockOutcome,
  type BlockStageRun,
  type BlockTrainingRun,
  readOriginals,
  trainBlock,
} from './block-stages.ts';
import type { BlockStageOptions } from './options.ts';

/** The blocks of a stage in order; what is kept already is not trained again. @throws DuobitError those of `runBlockStage` */
export async function* runTeacherForced(
  options: BlockStageOptions,
  run: BlockStageRun,
): AsyncGenerator<BlockOutcome> {
  const { checkpoint, store } = run;
  const stage = new TeacherForcedStage(options, run);
  try {
    for (let block = 0; block < checkpoint.architecture.blockCount; block++) {
      const kept = await store.load(block, (name) => checkpoint.tensorInfo(name));
      if (kept?.training) {
        yield { block, layers: kept.layers, training: kept.training, resumed: true };
        continue;
      }
      const outcome = await stage.train(block, await run.before(block, undefined));
      await store.save(block, outcome);
      yield outcome;
    }
  } finally {
    stage.dispose();
  }
}

/**
 * Trains blocks of a stage. It keeps the teacher's stream where the last block left it: ascending blocks cost one pass through the
 * model in all, a block before the last one costs a pass from the beginning.
 */
export class TeacherForcedStage {
  readonly #options: BlockStageOptions;
  readonly #run: BlockTrainingRun;
  readonly #plan: BatchPlan;
  #teacher: readonly Batch[] = [];
  /** The block that `#teacher` goes into; none while that is empty. */
  #next = 0;

  constructor(options: BlockStageOptions, run: BlockTrainingRun) {
    this.#options = options;
    this.#run = run;
    this.#plan = planBatches(run.streams.length, options.batch, options.heldOut, options.seed);
  }

  /** @param before the block as the stage before left it. @throws DuobitError `ABORTED`, `ENGINE_FAILED`, those of the checkpoint */
  async train(block: number, before: BlockLayers): Promise<BlockOutcome> {
    const { engine, streams, checkpoint } = this.#run;
    if (this.#teacher.length === 0 || block < this.#next) {
      this.dispose();
      this.#teacher = uploadBatches(engine, this.#plan, streams, checkpoint.architecture.hiddenSize);
      this.#next = 0;
    }
    while (this.#next < block) await this.#pass(this.#next, async () => {});
    let outcome: BlockOutcome | undefined;
    await this.#pass(block, async (model, originals, targets) => {
      const teacher = this.#teacher;
      const inputs = { student: teacher, teacher, targets };
      const { trained } = this.#plan;
      outcome = await trainBlock(this.#options, this.#run, model, originals, trained, inputs, block, before);
    });
    return outcome!;
  }

  dispose(): void {
    disposeBatches(this.#run.engine, this.#teacher);
    this.#teacher = [];
  }

  /** Takes the stream through a block. @param use while what goes in and what comes out are both there */
  async #pass(
    block: number,
    use: (
      model: BlockModel,
      originals: ReadonlyMap<string, Float32Array>,
      targets: readonly Batch[],
    ) => Promise<void>,
  ): Promise<void> {
    const { engine, checkpoint, signal } = this.#run;
    const model = await BlockModel.open(engine, checkpoint, block);
    try {
      const originals = await readOriginals(checkpoint, model);
      const targets = await advanceTeacher(engine, model, originals, this.#teacher, signal);
      try {
        await use(model, originals, targets);
      } catch (error) {
        disposeBatches(engine, targets);
        throw error;
      }
      this.dispose();
      this.#teacher = targets;
      this.#next = block + 1;
    } finally {
      model.dispose();
    }
  }
}
