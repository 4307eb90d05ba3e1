// What follows the last block, as a differentiable function of its output: the last norm and the head, both of the checkpoint.
import { buildPlan, type ExecutionPlan, LLAMA, SLOTS } from '@duobit/core';
import { type Engine, interpret, type Tensor1D, type Tensor2D } from '@duobit/tfjs';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Batch } from './batches.ts';

export class HeadModel {
  readonly #engine: Engine;
  readonly #plan: ExecutionPlan;
  readonly #norm: Tensor1D;
  readonly #matrix: Tensor2D;

  static async open(engine: Engine, checkpoint: Checkpoint): Promise<HeadModel> {
    const { tf } = engine;
    const name = checkpoint.architecture.tiedHead ? LLAMA.embedding : LLAMA.head;
    const norm = tf.tensor1d(await checkpoint.readF32(LLAMA.finalNorm));
    const shape = checkpoint.tensorInfo(name).shape as [number, number];
    const matrix = tf.tensor2d(await checkpoint.readF32(name), shape);
    return new HeadModel(engine, buildPlan(checkpoint, { section: 'head' }), norm, matrix);
  }

  private constructor(engine: Engine, plan: ExecutionPlan, norm: Tensor1D, matrix: Tensor2D) {
    this.#engine = engine;
    this.#plan = plan;
    this.#norm = norm;
    this.#matrix = matrix;
  }

  /** Of every row [rows, vocabulary]. */
  logits({ values, windows }: Batch): Tensor2D {
    const slots = new Map([[SLOTS.residual as string, values]]);
    interpret(
      this.#engine.operations,
      this.#plan,
      slots,
      { windows, tokens: values.shape[0] / windows },
      {
        weight: (name) => (name === LLAMA.finalNorm ? this.#norm : this.#matrix),
        quantizer: () => null,
      },
    );
    return slots.get(SLOTS.logits)!;
  }

  dispose(): void {
    this.#engine.tf.dispose([this.#norm, this.#matrix]);
  }
}
