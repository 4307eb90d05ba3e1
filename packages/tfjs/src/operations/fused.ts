// Operations on hand-written kernels, for the TensorFlow.js backend `cpu`, whose tensors lie in typed arrays of this process: the
// tape stays, the time goes into a few large calls.
import type { TrainingKernels } from '@duobit/core';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { pushOf } from './composed-levels.ts';
import { differentiable } from './differentiable.ts';
import type { StepMemory } from './memory.ts';
import type { Operations } from './operations.ts';

/** @param composed serves what has no kernel: the knee */
export function fuseOperations(
  tf: typeof TensorFlow,
  kernels: TrainingKernels,
  composed: Operations,
  memory: StepMemory,
): Operations {
  const read = (tensor: Tensor): Float32Array => tensor.dataSync() as Float32Array;
  /** A tensor of the shape of another, filled by `write`. */
  const fill = <T extends Tensor>(like: T, write: (out: Float32Array) => void): T => {
    const values = memory.take(like.size);
    write(values);
    return tf.tensor(values, like.shape) as T;
  };
  /** As many as there are examples of their shapes. */
  const fillAll = (like: readonly Tensor[], write: (...outs: Float32Array[]) => void): Tensor[] => {
    const values = like.map((tensor) => memory.take(tensor.size));
    write(...values);
    return values.map((each, i) => tf.tensor(each, like[i]!.shape));
  };

  const linear = differentiable(tf, (x: Tensor2D, weight: Tensor2D) => {
    const [m, k] = x.shape;
    const n = weight.shape[0];
    const out = memory.take(m * n);
    kernels.matMul(read(x), read(weight), out, { m, n, k }, { a: false, b: true });
    return {
      value: tf.tensor2d(out, [m, n]),
      saved: [x, weight],
      gradient: (g: Tensor2D, x: Tensor2D, weight: Tensor2D) => [
        fill(x, (dX) => kernels.matMul(read(g), read(weight), dX, { m, n: k, k: n }, { a: false, b: false })),
        fill(weight, (dW) =>
          kernels.matMul(read(g), read(x), dW, { m: n, n: k, k: m }, { a: true, b: false }),
        ),
      ],
    };
  });

  const add = differentiable(tf, (a: Tensor2D, b: Tensor2D) => ({
    value: fill(a, (out) => kernels.add(read(a), read(b), out)),
    saved: [],
    // Each its own: TensorFlow.js disposes of gradients as it adds to them.
    gradient: (g: Tensor2D) => [tf.clone(g), tf.clone(g)],
  }));

  const siluMul = differentiable(tf, (gate: Tensor2D, up: Tensor2D) => ({
    value: fill(gate, (out) => kernels.siluMul(read(gate), read(up), out)),
    saved: [gate, up],
    gradient: (g: Tensor2D, gate: Tensor2D, up: Tensor2D) =>
      fillAll([gate, up], (dGate, dUp) =>
        kernels.siluMulGradient(read(gate), read(up), read(g), dGate!, dUp!),
      ),
  }));

  const rotate = differentiable(tf, (x: Tensor2D) => {
    const width = x.shape[1];
    const turn = (input: Tensor2D, inverse: boolean) =>
      fill(input, (out) => kernels.rotate(read(input), width, inverse, out));
    return { value: turn(x, false), saved: [], gradient: (g: Tensor2D) => [turn(g, true)] };
  });

  const quantizeActivations = differentiable(tf, (x: Tensor2D, clips: Tensor1D) => {
    const width = x.shape[1];
    return {
      value: fill(x, (out) => kernels.quantizeActivations(read(x), width, read(clips), out)),
      saved: [x, clips],
      gradient: (g: Tensor2D, x: Tensor2D, clips: Tensor1D) =>
        fillAll([x, clips], (dX, dClips) =>
          kernels.quantizeActivationsGradient(read(x), width, read(clips), read(g), dX!, dClips!),
        ),
    };
  });

  return {
    add,
    joinRows: (parts) => {
      const [, width] = parts[0]!.shape;
      const out = memory.take(parts.reduce((sum, part) => sum + part.size, 0));
      let at = 0;
      for (const part of parts) {
        out.set(read(part), at);
        at += part.size;
      }
      return tf.tensor2d(out, [out.length / width, width]);
    },
    weightedError: (output, target, weights) =>
      differentiable(tf, (output: Tensor2D) => ({
        value: tf.scalar(weightedError(read(output), read(target), read(weights))),
        // What is no input lives no longer than the run, too, unless it is saved.
        saved: [output, target, weights],
        gradient: (g: Scalar, output: Tensor2D, target: Tensor2D, weights: Tensor1D) => [
          fill(output, (dOut) =>
            weightedErrorGradient(read(output), read(target), read(weights), read(g)[0]!, dOut),
          ),
        ],
      }))(output),
    linear,
    siluMul,
    rotate,
    quantizeActivations: (x, clips, knee) =>
      knee ? composed.quantizeActivations(x, clips, knee) : quantizeActivations(x, clips),
    rmsNorm: (x, weight, epsilon) =>
      differentiable(tf, (x: Tensor2D, weight: Tensor1D) => ({
        value: fill(x, (out) => kernels.rmsNorm(read(x), read(weight), epsilon, out)),
        saved: [x, weight],
        gradient: (g: Tensor2D, x: Tensor2D, weight: Tensor1D) =>
          fillAll([x, weight], (dX, dWeight) =>
            kernels.rmsNormGradient(read(x), read(weight), epsilon, read(g), dX!, dWeight!),
          ),
      }))(x, weight),
    rope: (x, headCount, frequencies, rows) => {
      const turn = (input: Tensor2D, inverse: boolean): Tensor2D =>
        fill(input, (out) => kernels.rope(read(input), headCount, frequencies, rows, inverse, out));
      return differentiable(tf, (x: Tensor2D) => ({
        value: turn(x, false),
        saved: [],
        gradient: (g: Tensor2D) => [turn(g, true)],
      }))(x);
    },
    attention: (query, key, value, { heads, rows, span }) =>
      differentiable(tf, (q: Tensor2D, k: Tensor2D, v: Tensor2D) => {
        const sums = tf.zeros([rows.windows * rows.tokens, heads.headCount]) as Tensor2D;
        const out = fill(q, (out) =>
          kernels.attention(read(q), read(k), read(v), heads, rows, span, out, read(sums)),
        );
        return {
          value: out,
          saved: [q, k, v, out, sums],
          gradient: (g: Tensor2D, q: Tensor2D, k: Tensor2D, v: Tensor2D, out: Tensor2D, sums: Tensor2D) =>
            fillAll([q, k, v], (query, key, value) =>
              kernels.attentionGradient(
                { query: read(q), key: read(k), value: read(v) },
                { out: read(out), logSums: read(sums) },
                read(g),
                heads,
                rows,
                span,
                { query: query!, key: key!, value: value! },
              ),
            ),
        };
      })(query, key, value),
    nearestLevels: (latent, levels, groupSize) => {
      const columns = latent.shape[1];
      return differentiable(tf, (latent: Tensor2D, levels: Tensor2D) => ({
        value: fill(latent, (out) =>
          kernels.nearestLevels(read(latent), read(levels), columns, groupSize, out),
        ),
        saved: [latent, levels],
        gradient: (g: Tensor2D, latent: Tensor2D, levels: Tensor2D) => [
          tf.clone(g),
          fill(levels, (dLevels) =>
            kernels.nearestLevelsGradient(read(latent), read(levels), columns, groupSize, read(g), dLevels),
          ),
        ],
      }))(latent, levels);
    },
    chosenLevels: (codes, levels, groupSize) => {
      const chosen = codes.dataSync() as Int32Array;
      const columns = codes.shape[1];
      return differentiable(tf, (levels: Tensor2D) => ({
        value: fill(codes, (out) => kernels.chosenLevels(chosen, read(levels), columns, groupSize, out)),
        saved: [],
        gradient: (g: Tensor2D) => [
          fill(levels, (dLevels) =>
            kernels.chosenLevelsGradient(chosen, columns, groupSize, read(g), dLevels),
          ),
        ],
      }))(levels);
    },
    relaxedLevels: (latent, bitmap, levels, groupSize, polarisation) => {
      const columns = latent.shape[1];
      const push = pushOf(polarisation, bitmap);
      return differentiable(tf, (latent: Tensor2D, bitmap: Tensor2D, levels: Tensor2D) => ({
        value: fill(latent, (out) =>
          kernels.relaxedLevels(read(latent), read(bitmap), read(levels), columns, groupSize, out),
        ),
        saved: [latent, bitmap, levels],
        gradient: (g: Tensor2D, latent: Tensor2D, bitmap: Tensor2D, levels: Tensor2D) => [
          tf.clone(g),
          ...fillAll([bitmap, levels], (dBitmap, dLevels) => {
            const [x, m, four] = [read(latent), read(bitmap), read(levels)];
            kernels.relaxedLevelsGradient(x, m, four, columns, groupSize, push, read(g), dBitmap!, dLevels!);
          }),
        ],
      }))(latent, bitmap, levels);
    },
    distillationLoss: (teacher, student) => {
      const [rows, width] = student.shape;
      return differentiable(tf, (student: Tensor2D) => {
        const losses = new Float32Array(rows);
        kernels.distillationLoss(read(teacher), read(student), width, losses);
        return {
          value: tf.tensor1d(losses),
          saved: [student, teacher],
          gradient: (g: Tensor1D, student: Tensor2D, teacher: Tensor2D) => [
            fill(student, (dStudent) =>
              kernels.distillationLossGradient(read(teacher), read(student), width, read(g), dStudent),
            ),
          ],
        };
      })(student);
    },
  };
}

function weightedError(output: Float32Array, target: Float32Array, weights: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < output.length; )
    for (let column = 0; column < weights.length; column++, i++)
      sum += weights[column]! * (output[i]! - target[i]!) ** 2;
  return sum / output.length;
}

function weightedErrorGradient(
  output: Float32Array,
  target: Float32Array,
  weights: Float32Array,
  g: number,
  out: Float32Array,
): void {
  const scale = (2 * g) / output.length;
  for (let i = 0; i < output.length; )
    for (let column = 0; column < weights.length; column++, i++)
      out[i] = scale * weights[column]! * (output[i]! - target[i]!);
}
