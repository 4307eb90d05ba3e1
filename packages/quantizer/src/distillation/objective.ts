// What a block is trained towards, and judged by.
import type { Engine, Scalar, Tensor1D, Tensor2D } from '@duobit/tfjs';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Batch } from './batches.ts';
import { HeadModel } from './head-model.ts';

export interface Objective {
  /** @param target what the unquantized block gives on the unquantized stream */
  loss(output: Tensor2D, target: Batch): Scalar;
  dispose(): void;
}

/** Mean square error of each channel by its weight, which it takes over. */
export function channelObjective({ operations }: Engine, weights: Tensor1D): Objective {
  return {
    loss: (output, target) => operations.weightedError(output, target.values, weights),
    dispose: () => weights.dispose(),
  };
}

/** After the last block only the prediction counts: KL a token. */
export async function predictionObjective(engine: Engine, checkpoint: Checkpoint): Promise<Objective> {
  const { tf, operations } = engine;
  const head = await HeadModel.open(engine, checkpoint);
  return {
    loss: (values, target) => {
      const teacher = tf.tidy(() => head.logits(target));
      return tf.mean(operations.distillationLoss(teacher, head.logits({ values, windows: target.windows })));
    },
    dispose: () => head.dispose(),
  };
}
