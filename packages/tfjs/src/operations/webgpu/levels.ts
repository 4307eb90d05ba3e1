// Weights of four levels a group, chosen by nearness, by fixed codes or by a relaxed bitmap.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { pushOf } from '../composed-levels.ts';
import { differentiable } from '../differentiable.ts';
import type { Operations } from '../operations.ts';
import { eachValue, type Programs } from './programs.ts';

/** Enough for groups of 128 and 256. */
const THREADS = 64;

export function nearestLevels(tf: typeof TensorFlow, programs: Programs): Operations['nearestLevels'] {
  return (latent, levels, groupSize) => {
    const whole = placesOf(latent.shape, groupSize);
    return differentiable(tf, (latent: Tensor2D, levels: Tensor2D) => ({
      value: programs.run<Tensor2D>(
        'nearest-levels',
        latent.shape,
        eachValue(latent.size, { latent, levels }, { whole }),
      ),
      saved: [latent, levels],
      gradient: (gradient: Tensor2D, latent: Tensor2D, levels: Tensor2D): Tensor[] => [
        // Its own: TensorFlow.js disposes of gradients as it adds to them.
        tf.clone(gradient),
        programs.run('nearest-levels-sums', levels.shape, byGroup({ latent, levels, gradient }, whole)),
      ],
    }))(latent, levels);
  };
}

export function chosenLevels(tf: typeof TensorFlow, programs: Programs): Operations['chosenLevels'] {
  return (codes, levels, groupSize) => {
    const whole = placesOf(codes.shape, groupSize);
    return differentiable(tf, (levels: Tensor2D) => ({
      value: programs.run<Tensor2D>(
        'fixed-levels',
        codes.shape,
        eachValue(codes.size, { codes, levels }, { whole }),
      ),
      saved: [codes],
      gradient: (gradient: Tensor2D, codes: Tensor2D) => [
        programs.run('fixed-levels-sums', levels.shape, byGroup({ codes, gradient }, whole)),
      ],
    }))(levels);
  };
}

export function relaxedLevels(tf: typeof TensorFlow, programs: Programs): Operations['relaxedLevels'] {
  return (latent, bitmap, levels, groupSize, polarisation) => {
    const whole = placesOf(latent.shape, groupSize);
    return differentiable(tf, (latent: Tensor2D, bitmap: Tensor2D, levels: Tensor2D) => ({
      value: programs.run<Tensor2D>(
        'relaxed-levels',
        latent.shape,
        eachValue(latent.size, { latent, bitmap, levels }, { whole }),
      ),
      saved: [latent, bitmap, levels],
      gradient: (gradient: Tensor2D, latent: Tensor2D, bitmap: Tensor2D, levels: Tensor2D): Tensor[] => [
        tf.clone(gradient),
        programs.run(
          'relaxed-bitmap',
          bitmap.shape,
          eachValue(
            bitmap.size,
            { latent, bitmap, levels, gradient },
            { whole, real: { push: pushOf(polarisation, bitmap) } },
          ),
        ),
        programs.run('relaxed-levels-sums', levels.shape, byGroup({ latent, bitmap, gradient }, whole)),
      ],
    }))(latent, bitmap, levels);
  };
}

interface Places extends Record<string, number> {
  readonly columns: number;
  readonly groupSize: number;
  readonly groups: number;
}

function placesOf([, columns]: [number, number], groupSize: number): Places {
  return { columns, groupSize, groups: Math.ceil(columns / groupSize) };
}

/** A workgroup for each group of each row of the gradient. */
function byGroup(inputs: { readonly gradient: Tensor2D } & Record<string, Tensor>, places: Places) {
  const count = inputs.gradient.shape[0] * places.groups;
  return { inputs, threads: THREADS, workgroups: count, whole: { count, ...places } };
}
