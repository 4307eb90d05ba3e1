// Adam with rates a group of parameters, cosine decay and clipping by the norm of all gradients; by kernels where an engine has them.
import type { TrainingKernels } from '@duobit/core';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { NamedTensorMap, Tensor, Variable } from '@tensorflow/tfjs-core';
import type { Engine } from './engine.ts';
import { WebGpuAdam } from './operations/webgpu/adam.ts';

/** Settings of `Adam`. */
export interface AdamOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Gradients whose norm is larger are scaled down to it; null leaves them. */
  readonly clipNorm: number | null;
}

/** What `Adam` takes where nothing else is given. */
export const ADAM_DEFAULTS: AdamOptions = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, clipNorm: null };

/** The rate of a step that decays from 1 to 0 along half a cosine (Loshchilov & Hutter 2017). @param step from 0 */
export function cosineDecay(step: number, steps: number): number {
  return 0.5 * (1 + Math.cos((Math.PI * step) / steps));
}

interface Moments {
  readonly mean: Variable;
  readonly square: Variable;
}

/** Kingma & Ba 2015, algorithm 1. */
export class Adam {
  readonly #tf: typeof TensorFlow;
  readonly #kernels: TrainingKernels | null;
  readonly #webGpu: WebGpuAdam | null;
  readonly #options: AdamOptions;
  readonly #moments = new Map<Variable, Moments>();
  /** Means and behind them means of squares [2, size], where a GPU moves both at once. */
  readonly #joined = new Map<Variable, Tensor>();
  #step = 0;

  constructor(
    { tf, kernels, device }: Pick<Engine, 'tf' | 'kernels' | 'device'>,
    options: Partial<AdamOptions> = {},
  ) {
    this.#tf = tf;
    this.#kernels = kernels;
    this.#webGpu = device === 'webgpu' ? new WebGpuAdam(tf) : null;
    this.#options = { ...ADAM_DEFAULTS, ...options };
  }

  /**
   * Moves parameters against their gradients, which stay the caller's.
   * @param rates of each parameter for this step
   */
  apply(gradients: NamedTensorMap, rates: ReadonlyMap<Variable, number>): void {
    this.#step++;
    const kernels = this.#kernels;
    const webGpu = this.#webGpu;
    if (kernels) this.#applyInPlace(kernels, gradients, rates);
    else if (webGpu) this.#tf.tidy(() => this.#applyOnGpu(webGpu, gradients, rates));
    else this.#tf.tidy(() => this.#applyComposed(gradients, rates));
  }

  /** Frees the moments. */
  dispose(): void {
    for (const { mean, square } of this.#moments.values()) this.#tf.dispose([mean, square]);
    this.#moments.clear();
    this.#tf.dispose([...this.#joined.values()]);
    this.#joined.clear();
  }

  #momentsOf(parameter: Variable): Moments {
    let moments = this.#moments.get(parameter);
    if (!moments) {
      const zeros = (): Variable =>
        this.#tf.tidy(() => this.#tf.variable(this.#tf.zeros(parameter.shape), false));
      moments = { mean: zeros(), square: zeros() };
      this.#moments.set(parameter, moments);
    }
    return moments;
  }

  /** On the backend `cpu` a variable's values are its typed array. */
  #applyInPlace(
    kernels: TrainingKernels,
    gradients: NamedTensorMap,
    rates: ReadonlyMap<Variable, number>,
  ): void {
    const { beta1, beta2, epsilon, clipNorm } = this.#options;
    const read = (tensor: Tensor): Float32Array => tensor.dataSync() as Float32Array;
    let scale = 1;
    if (clipNorm !== null) {
      let total = 0;
      for (const parameter of rates.keys()) total += kernels.sumOfSquares(read(gradients[parameter.name]!));
      scale = clipScale(Math.sqrt(total), clipNorm);
    }
    for (const [parameter, rate] of rates) {
      const { mean, square } = this.#momentsOf(parameter);
      const options = { rate, beta1, beta2, epsilon, step: this.#step, scale };
      kernels.adam(read(parameter), read(gradients[parameter.name]!), read(mean), read(square), options);
    }
  }

  #applyOnGpu(webGpu: WebGpuAdam, gradients: NamedTensorMap, rates: ReadonlyMap<Variable, number>): void {
    const { clipNorm, ...options } = this.#options;
    const all = [...rates.keys()].map(({ name }) => gradients[name]!);
    const scale = webGpu.clipScale(all, clipNorm);
    for (const [parameter, rate] of rates) {
      let moments = this.#joined.get(parameter);
      if (!moments) {
        moments = this.#tf.keep(this.#tf.zeros([2, parameter.size]));
        this.#joined.set(parameter, moments);
      }
      const step = { ...options, rate, step: this.#step };
      webGpu.move(parameter, gradients[parameter.name]!, moments, scale, step);
    }
  }

  #applyComposed(gradients: NamedTensorMap, rates: ReadonlyMap<Variable, number>): void {
    const tf = this.#tf;
    const { beta1, beta2, epsilon, clipNorm } = this.#options;
    let scale: Tensor | null = null;
    if (clipNorm !== null) {
      const parts = [...rates.keys()].map(({ name }) => tf.sum(tf.square(gradients[name]!)));
      // Where the norm is 0 the gradients are, too.
      // Not addN: WebGPU gives a shader 8 buffers at least, and that takes one for each.
      const total = parts.reduce((sum, part) => tf.add(sum, part));
      scale = tf.minimum(1, tf.divNoNan(clipNorm, tf.sqrt(total)));
    }
    const bias1 = 1 - beta1 ** this.#step;
    const bias2 = 1 - beta2 ** this.#step;
    for (const [parameter, rate] of rates) {
      const { mean, square } = this.#momentsOf(parameter);
      const gradient = scale ? tf.mul(gradients[parameter.name]!, scale) : gradients[parameter.name]!;
      mean.assign(tf.add(tf.mul(mean, beta1), tf.mul(gradient, 1 - beta1)));
      square.assign(tf.add(tf.mul(square, beta2), tf.mul(tf.square(gradient), 1 - beta2)));
      const step = tf.div(tf.mul(mean, rate / bias1), tf.add(tf.sqrt(tf.mul(square, 1 / bias2)), epsilon));
      parameter.assign(tf.sub(parameter, step));
    }
  }
}

function clipScale(norm: number, most: number): number {
  return norm > most ? most / norm : 1;
}
