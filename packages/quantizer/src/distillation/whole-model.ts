// All blocks, the last norm and the head as one differentiable function; teacher and student share plans, norms and head.
import { createRandom } from '@duobit/core';
import type { Engine, Scalar, Tensor, Tensor2D } from '@duobit/tfjs';
import { pause } from '../abort.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { BlockLayers } from '../stages/block-store.ts';
import { type Batch, disposeBatches, planBatches, uploadBatches } from './batches.ts';
import { BlockModel, type BlockValues } from './block-model.ts';
import { type BlockParameters, BlockTensors } from './block-parameters.ts';
import { HeadModel } from './head-model.ts';
import { TeacherCache } from './teacher-cache.ts';

/** Rows that sensitivities are measured on: their mean over so many hardly changes with more. */
const SENSITIVITY_ROWS = 4096;

/**
 * `WholeModel.sensitivities` of some of the windows.
 * @param streams before the first block, one a window [tokens, hiddenSize]
 */
export async function measureSensitivities(
  engine: Engine,
  checkpoint: Checkpoint,
  streams: readonly Float32Array[],
  batch: number,
  seed: number,
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const { hiddenSize } = checkpoint.architecture;
  const enough = streams.slice(0, Math.ceil((SENSITIVITY_ROWS * hiddenSize) / streams[0]!.length));
  const plan = planBatches(enough.length, batch, 0, seed);
  const batches = uploadBatches(engine, plan, enough, hiddenSize);
  const model = await WholeModel.open(engine, checkpoint);
  try {
    return await model.sensitivities(batches, seed, signal);
  } finally {
    model.dispose();
    disposeBatches(engine, batches);
  }
}

export class WholeModel {
  readonly blocks: readonly BlockModel[];
  readonly #engine: Engine;
  readonly #head: HeadModel;
  #teacher: ReadonlyMap<string, Tensor2D>;
  #cache: TeacherCache | null = null;

  static async open(engine: Engine, checkpoint: Checkpoint): Promise<WholeModel> {
    const blocks: BlockModel[] = [];
    const teacher = new Map<string, Tensor2D>();
    for (let block = 0; block < checkpoint.architecture.blockCount; block++) {
      const model = await BlockModel.open(engine, checkpoint, block);
      blocks.push(model);
      for (const name of model.linear)
        teacher.set(name, engine.tf.tensor2d(await checkpoint.readF32(name), model.shapeOf(name)));
    }
    return new WholeModel(engine, blocks, await HeadModel.open(engine, checkpoint), teacher);
  }

  private constructor(
    engine: Engine,
    blocks: readonly BlockModel[],
    head: HeadModel,
    teacher: ReadonlyMap<string, Tensor2D>,
  ) {
    this.#engine = engine;
    this.blocks = blocks;
    this.#head = head;
    this.#teacher = teacher;
  }

  /** Weights of the checkpoint. */
  readonly teacher = (name: string): Tensor2D => this.#teacher.get(name)!;

  /** Keeps `count` of the teacher's most likely tokens of each row of these batches, which alone can be used then; lets go of its weights. */
  async cacheTeacher(
    batches: readonly Batch[],
    count: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const cache = new TeacherCache(this.#engine, count);
    this.#cache = cache;
    for (const batch of batches) {
      await pause(signal);
      this.#engine.tf.tidy(() => cache.add(batch, this.#teach(batch)));
      await this.#engine.sync();
    }
    this.#engine.tf.dispose([...this.#teacher.values()]);
    this.#teacher = new Map();
  }

  /** Mean KL a token of a batch, differentiable in the parameters. */
  loss(parameters: readonly BlockParameters[], batch: Batch): Scalar {
    return this.#divergence(batch, (block) => parameters[block]!.open());
  }

  /** The same of blocks as they are stored, over all batches. */
  async evaluate(
    blocks: readonly BlockLayers[],
    batches: readonly Batch[],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { tf } = this.#engine;
    const tensors = blocks.map((layers, i) => new BlockTensors(this.#engine, this.blocks[i]!, layers, 'a4'));
    let sum = 0;
    let windows = 0;
    try {
      for (const batch of batches) {
        await pause(signal);
        const loss = tf.tidy(() => this.#divergence(batch, (block) => tensors[block]!));
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
    this.#head.dispose();
    this.#engine.tf.dispose([...this.#teacher.values()]);
    this.#cache?.dispose();
  }

  #divergence(batch: Batch, of: (block: number) => BlockValues): Scalar {
    const { tf, operations } = this.#engine;
    // Before the student, whose activations stay: so less is in memory at once.
    const full = this.#cache ? null : this.#teach(batch);
    const logits = this.#run(batch, of);
    return tf.mean(operations.distillationLoss(full ?? this.#cache!.target(batch, logits), logits));
  }

  #teach(batch: Batch): Tensor2D {
    return this.#engine.tf.tidy(() => this.#run(batch, () => ({ weights: this.teacher, quantizers: null })));
  }

  /**
   * How much the teacher's prediction depends on each channel of what leaves each block, [blocks][width]: the diagonal of Fisher's
   * information, mean over rows of (dL/dh)^2, L having the curvature of the KL divergence. With v = sqrt(p) z - p (sqrt(p) . z) and
   * E[z z^T] = 1, E[v v^T] = diag(p) - p p^T, which is the KL's second derivative by the logits; so no label has to be drawn.
   */
  async sensitivities(
    batches: readonly Batch[],
    seed: number,
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    const { tf } = this.#engine;
    const random = createRandom(seed);
    const draw = (count: number): Tensor2D =>
      tf.tensor2d(Float32Array.from({ length: count }, random), [count, 1]);
    const [, width] = batches[0]!.values.shape;
    const sums = this.blocks.map(() => new Float32Array(width));
    let rows = 0;
    for (const batch of batches) {
      await pause(signal);
      const found = this.#engine.step(() =>
        tf.tidy(() => {
          const logits = this.#teach(batch);
          const root = tf.sqrt(tf.softmax(logits));
          // z = sqrt(2) cos(2 pi (phase + frequency * token)), uncorrelated between tokens and between rows.
          const [rows, tokens] = logits.shape;
          const turns = tf.add(draw(rows), tf.mul(draw(rows), tf.range(0, tokens)));
          const angles = tf.mul(tf.sub(turns, tf.floor(turns)), 2 * Math.PI);
          const z = tf.mul(tf.cos(angles), Math.SQRT2);
          const along = tf.sum(tf.mul(root, z), 1, true);
          const v = tf.mul(root, tf.sub(z, tf.mul(root, along))) as Tensor2D;
          const zeros = this.blocks.map(() => tf.zerosLike(batch.values));
          const gradients = tf.grads((...probes: Tensor[]) =>
            this.#run(batch, () => ({ weights: this.teacher, quantizers: null }), probes as Tensor2D[]),
          )(zeros, v);
          return gradients.map((gradient) => tf.sum(tf.square(gradient), 0));
        }),
      );
      for (const [block, tensor] of found.entries()) {
        const values = (await tensor.data()) as Float32Array;
        for (let i = 0; i < width; i++) sums[block]![i]! += values[i]!;
        tensor.dispose();
      }
      await this.#engine.sync();
      rows += batch.values.shape[0];
    }
    return sums.map((sum) => sum.map((value) => value / rows));
  }

  /** Logits of every row. @param probes added to what leaves each block */
  #run(
    { values, windows }: Batch,
    of: (block: number) => BlockValues,
    probes?: readonly Tensor2D[],
  ): Tensor2D {
    let stream = values;
    for (const [block, model] of this.blocks.entries()) {
      stream = model.forward({ values: stream, windows }, of(block));
      if (probes) stream = this.#engine.operations.add(stream, probes[block]!);
    }
    return this.#head.logits({ values: stream, windows });
  }
}
