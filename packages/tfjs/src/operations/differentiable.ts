// `tf.customGrad` with types that say what goes in and out.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** A value, and how to get the gradients of what it came from. */
export interface Differentiated<Out extends Tensor, Saved extends Tensor[]> {
  readonly value: Out;
  /** Kept until the gradient has been taken: inputs, the value, and what was computed on the way. */
  readonly saved: readonly [...Saved];
  /** Gradients of all inputs, in order, of the gradient of the value. */
  readonly gradient: (g: Out, ...saved: Saved) => Tensor[];
}

/** An operation of tensors with a gradient of its own. */
export function differentiable<In extends Tensor[], Out extends Tensor, Saved extends Tensor[]>(
  tf: typeof TensorFlow,
  forward: (...inputs: In) => Differentiated<Out, Saved>,
): (...inputs: In) => Out {
  const operation = tf.customGrad((...given) => {
    const save = given.pop() as unknown as (tensors: Tensor[]) => void;
    const { value, saved, gradient } = forward(...(given as Tensor[] as In));
    save([...saved]);
    return {
      value,
      gradFunc: (g: Tensor, kept: Tensor[]) => gradient(g as Out, ...(kept as Saved)),
    };
  });
  return (...inputs) => operation(...inputs) as Out;
}
