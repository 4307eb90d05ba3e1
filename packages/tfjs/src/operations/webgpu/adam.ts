// Adam on kernels in WGSL: of each parameter one dispatch for its moments and one for itself, in place.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Variable } from '@tensorflow/tfjs-core';
import { eachValue, Programs } from './programs.ts';

export interface AdamStep {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Counts from 1. */
  readonly step: number;
}

/** Of sums of squares. */
const THREADS = 256;
/** Values of a gradient that a workgroup squares, until it has this many workgroups. */
const PART = 4096;
const MOST_PARTS = 64;

export class WebGpuAdam {
  readonly #tf: typeof TensorFlow;
  readonly #programs: Programs;

  constructor(tf: typeof TensorFlow) {
    this.#tf = tf;
    this.#programs = new Programs(tf);
  }

  /** [1]: what brings the norm of all gradients down to `most`; 1 where it is no larger, or `most` is null. */
  clipScale(gradients: readonly Tensor[], most: number | null): Tensor1D {
    const tf = this.#tf;
    if (most === null) return tf.ones([1]);
    const partsOf = ({ size }: Tensor): number => Math.min(MOST_PARTS, Math.ceil(size / PART));
    const count = gradients.reduce((sum, gradient) => sum + partsOf(gradient), 0);
    const parts: Tensor1D = this.#programs.make([count]);
    let first = 0;
    for (const gradient of gradients) {
      const workgroups = partsOf(gradient);
      this.#programs.runInPlace('squares', parts, {
        inputs: { gradient },
        threads: THREADS,
        workgroups,
        whole: { count: gradient.size, parts: workgroups, first },
      });
      first += workgroups;
    }
    const scale: Tensor1D = this.#programs.run('clip-scale', [1], {
      inputs: { parts },
      threads: THREADS,
      workgroups: 1,
      whole: { count },
      real: { most },
    });
    parts.dispose();
    return scale;
  }

  /**
   * @param moments [2, size of the parameter]: means, means of squares
   * @param scale [1], multiplies the gradient first
   */
  move(
    parameter: Variable,
    gradient: Tensor,
    moments: Tensor,
    scale: Tensor1D,
    { rate, beta1, beta2, epsilon, step }: AdamStep,
  ): void {
    const { size } = parameter;
    this.#programs.runInPlace(
      'adam-moments',
      moments,
      eachValue(
        size,
        { gradient, scale },
        { real: { keepMean: beta1, addMean: 1 - beta1, keepSquare: beta2, addSquare: 1 - beta2 } },
      ),
    );
    this.#programs.runInPlace(
      'adam-parameter',
      parameter,
      eachValue(
        size,
        { moments },
        { real: { rate: rate / (1 - beta1 ** step), unbias: 1 / (1 - beta2 ** step), epsilon } },
      ),
    );
  }
}
