// One block of a model as a differentiable function of its residual stream, with weights and quantizers that the caller names.
import { buildPlan, type ExecutionPlan, inputSlot, rotatedSlot, SLOTS } from '@duobit/core';
import { blockWeights } from '@duobit/format';
import {
  type Engine,
  interpret,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type TensorQuantizer,
} from '@duobit/tfjs';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { PLAIN_QUANTIZER } from '../stages/clip-search.ts';
import type { Batch } from './batches.ts';

/** What a block computes with. */
export interface BlockValues {
  readonly weights: (name: string) => Tensor2D;
  /** Of each input by its slot; null leaves inputs unquantized. */
  readonly quantizers: ((slot: string) => TensorQuantizer) | null;
}

export class BlockModel {
  /** Names of the seven linear weights, in order of use. */
  readonly linear: readonly string[];
  readonly #engine: Engine;
  readonly #checkpoint: Checkpoint;
  readonly #plans: Readonly<Record<'a4' | 'f16', ExecutionPlan>>;
  readonly #norms: ReadonlyMap<string, Tensor1D>;

  static async open(engine: Engine, checkpoint: Checkpoint, block: number): Promise<BlockModel> {
    const { inputNorm, postNorm } = blockWeights(block);
    const norms = new Map<string, Tensor1D>();
    for (const name of [inputNorm, postNorm])
      norms.set(name, engine.tf.tensor1d(await checkpoint.readF32(name)));
    return new BlockModel(engine, checkpoint, block, norms);
  }

  private constructor(
    engine: Engine,
    checkpoint: Checkpoint,
    block: number,
    norms: ReadonlyMap<string, Tensor1D>,
  ) {
    const { q, k, v, o, gate, up, down } = blockWeights(block);
    this.linear = [q, k, v, o, gate, up, down];
    this.#engine = engine;
    this.#checkpoint = checkpoint;
    this.#norms = norms;
    const section = { block };
    this.#plans = {
      a4: buildPlan(checkpoint, { section, quantizers: () => PLAIN_QUANTIZER }),
      f16: buildPlan(checkpoint, { section, activations: 'f16' }),
    };
  }

  /** [N, K] of a linear weight. */
  shapeOf(weight: string): [number, number] {
    return this.#checkpoint.tensorInfo(weight).shape as [number, number];
  }

  /** The slot that a linear weight multiplies, which names its input's quantizer. */
  inputOf(weight: string): string {
    const slot = inputSlot(weight);
    return this.#checkpoint.tensorInfo(weight).inputRotation === undefined ? slot : rotatedSlot(slot);
  }

  /** What leaves the block, differentiable in all that goes in. */
  forward({ values, windows }: Batch, { weights, quantizers }: BlockValues): Tensor2D {
    const { tf, operations } = this.#engine;
    const rows = { windows, tokens: values.shape[0] / windows };
    return tf.tidy(() => {
      const slots = new Map([[SLOTS.residual as string, values]]);
      interpret(operations, this.#plans[quantizers ? 'a4' : 'f16'], slots, rows, {
        weight: (name): Tensor => this.#norms.get(name) ?? weights(name),
        quantizer: ({ input }) => quantizers!(input),
      });
      return slots.get(SLOTS.residual)!;
    });
  }

  dispose(): void {
    for (const norm of this.#norms.values()) norm.dispose();
  }
}
