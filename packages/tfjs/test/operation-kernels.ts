// The operations of an engine in the shape of training kernels, so that the cases that kernels must pass are theirs, too. A device
// that works by itself has written results only when `settle` is done.
import type { TrainingKernels } from '@duobit/core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import type { Engine } from '../src/engine.ts';

export interface OperationKernels extends TrainingKernels {
  /** Into an array, now or by when `settle` is done. */
  deliver(tensor: Tensor, out: Float32Array): void;
  settle(): Promise<void>;
}

export function operationKernels({ tf, operations, name, device }: Engine): OperationKernels {
  const pending: Promise<void>[] = [];
  const matrix = (values: Float32Array, width: number): Tensor2D =>
    tf.tensor2d(values, [values.length / width, width]);
  const write = (tensor: Tensor, out: Float32Array): void => {
    if (device !== 'webgpu') {
      out.set(tensor.dataSync());
      return;
    }
    const kept = tf.keep(tf.clone(tensor));
    const read = async (): Promise<void> => {
      out.set(await kept.data());
      kept.dispose();
    };
    pending.push(read());
  };
  const run = (out: Float32Array, f: () => Tensor): void => {
    tf.tidy(() => write(f(), out));
  };
  /** Gradients of f in its inputs, of the gradient of its value. */
  const gradients = (
    f: (...inputs: Tensor[]) => Tensor,
    inputs: Tensor[],
    dOut: Tensor,
    outs: readonly Float32Array[],
  ): void => {
    const found = tf.grads(f)(inputs, dOut);
    for (const [i, gradient] of found.entries()) write(gradient, outs[i]!);
  };
  const tidy = (f: () => void): void => {
    tf.tidy(() => {
      f();
    });
  };
  return {
    name,
    threads: 1,
    deliver: write,
    async settle() {
      await Promise.all(pending.splice(0));
    },
    add: (a, b, out) => run(out, () => operations.add(matrix(a, a.length), matrix(b, b.length))),
    matMul: (a, b, out, { m, n, k }, transposed) => {
      // The product forward, and its two gradients, are the three forms that training has.
      const first = tf.tensor2d(a, transposed.a ? [k, m] : [m, k]);
      const second = tf.tensor2d(b, transposed.b ? [n, k] : [k, n]);
      const weight = transposed.b ? second : tf.transpose(second);
      const x = transposed.a ? tf.transpose(first) : first;
      run(out, () => operations.linear(x as Tensor2D, weight as Tensor2D));
      tf.dispose([first, second, weight, x]);
    },
    rmsNorm: (x, weight, epsilon, out) =>
      run(out, () => operations.rmsNorm(matrix(x, weight.length), tf.tensor1d(weight), epsilon)),
    rmsNormGradient: (x, weight, epsilon, dOut, dX, dWeight) =>
      tidy(() =>
        gradients(
          (x, weight) => operations.rmsNorm(x as Tensor2D, weight as Tensor1D, epsilon),
          [matrix(x, weight.length), tf.tensor1d(weight)],
          matrix(dOut, weight.length),
          [dX, dWeight],
        ),
      ),
    rope: (x, headCount, frequencies, rows, inverse, out) =>
      tidy(() => {
        const width = headCount * frequencies.length * 2;
        const turn = (input: Tensor) => operations.rope(input as Tensor2D, headCount, frequencies, rows);
        const input = matrix(x, width);
        // The inverse is the gradient, which does not depend on where it is taken.
        if (inverse) gradients(turn, [tf.zerosLike(input)], input, [out]);
        else write(turn(input), out);
      }),
    attention: (query, key, value, heads, rows, span, out, logSums) => {
      const width = heads.kvHeadCount * heads.headSize;
      run(out, () =>
        operations.attention(
          matrix(query, heads.headCount * heads.headSize),
          matrix(key, width),
          matrix(value, width),
          { heads, rows, span },
        ),
      );
      logSums.fill(0);
    },
    attentionGradient: ({ query, key, value }, _, dOut, heads, rows, span, found) =>
      tidy(() => {
        const [wide, width] = [heads.headCount * heads.headSize, heads.kvHeadCount * heads.headSize];
        gradients(
          (q, k, v) =>
            operations.attention(q as Tensor2D, k as Tensor2D, v as Tensor2D, { heads, rows, span }),
          [matrix(query, wide), matrix(key, width), matrix(value, width)],
          matrix(dOut, wide),
          [found.query, found.key, found.value],
        );
      }),
    siluMul: (gate, up, out) =>
      run(out, () => operations.siluMul(matrix(gate, gate.length), matrix(up, up.length))),
    siluMulGradient: (gate, up, dOut, dGate, dUp) =>
      tidy(() =>
        gradients(
          (gate, up) => operations.siluMul(gate as Tensor2D, up as Tensor2D),
          [matrix(gate, gate.length), matrix(up, up.length)],
          matrix(dOut, dOut.length),
          [dGate, dUp],
        ),
      ),
    rotate: (x, width, inverse, out) =>
      tidy(() => {
        const turn = (input: Tensor) => operations.rotate(input as Tensor2D);
        const input = matrix(x, width);
        if (inverse) gradients(turn, [tf.zerosLike(input)], input, [out]);
        else write(turn(input), out);
      }),
    quantizeActivations: (x, width, clips, out) =>
      run(out, () => operations.quantizeActivations(matrix(x, width), tf.tensor1d(clips), null)),
    quantizeActivationsGradient: (x, width, clips, dOut, dX, dClips) =>
      tidy(() =>
        gradients(
          (x, clips) => operations.quantizeActivations(x as Tensor2D, clips as Tensor1D, null),
          [matrix(x, width), tf.tensor1d(clips)],
          matrix(dOut, width),
          [dX, dClips],
        ),
      ),
    nearestLevels: (latent, levels, columns, groupSize, out) =>
      run(out, () => {
        const weights = matrix(latent, columns);
        return operations.nearestLevels(
          weights,
          tf.tensor2d(levels, [weights.shape[0], levels.length / weights.shape[0]]),
          groupSize,
        );
      }),
    nearestLevelsGradient: (latent, levels, columns, groupSize, dOut, dLevels) =>
      tidy(() => {
        const weights = matrix(latent, columns);
        gradients(
          (levels) => operations.nearestLevels(weights, levels as Tensor2D, groupSize),
          [tf.tensor2d(levels, [weights.shape[0], levels.length / weights.shape[0]])],
          matrix(dOut, columns),
          [dLevels],
        );
      }),
    chosenLevels: (codes, levels, columns, groupSize, out) =>
      run(out, () => {
        const places = tf.tensor2d(codes, [codes.length / columns, columns], 'int32');
        const four = tf.tensor2d(levels, [places.shape[0], levels.length / places.shape[0]]);
        return operations.chosenLevels(places, four, groupSize);
      }),
    chosenLevelsGradient: (codes, columns, groupSize, dOut, dLevels) =>
      tidy(() => {
        const places = tf.tensor2d(codes, [codes.length / columns, columns], 'int32');
        gradients(
          (levels) => operations.chosenLevels(places, levels as Tensor2D, groupSize),
          [tf.zeros([places.shape[0], dLevels.length / places.shape[0]])],
          matrix(dOut, columns),
          [dLevels],
        );
      }),
    relaxedLevels: (latent, bitmap, levels, columns, groupSize, out) =>
      run(out, () => {
        const [weights, relaxed] = [matrix(latent, columns), matrix(bitmap, columns)];
        const four = tf.tensor2d(levels, [weights.shape[0], levels.length / weights.shape[0]]);
        return operations.relaxedLevels(weights, relaxed, four, groupSize, 0);
      }),
    relaxedLevelsGradient: (latent, bitmap, levels, columns, groupSize, push, dOut, dBitmap, dLevels) =>
      tidy(() => {
        const weights = matrix(latent, columns);
        const polarisation = (push * latent.length) / -8;
        gradients(
          (bitmap, levels) =>
            operations.relaxedLevels(
              weights,
              bitmap as Tensor2D,
              levels as Tensor2D,
              groupSize,
              polarisation,
            ),
          [
            matrix(bitmap, columns),
            tf.tensor2d(levels, [weights.shape[0], levels.length / weights.shape[0]]),
          ],
          matrix(dOut, columns),
          [dBitmap, dLevels],
        );
      }),
    distillationLoss: (teacher, student, width, losses) =>
      run(losses, () => operations.distillationLoss(matrix(teacher, width), matrix(student, width))),
    distillationLossGradient: (teacher, student, width, dLosses, dStudent) =>
      tidy(() =>
        gradients(
          (student) => operations.distillationLoss(matrix(teacher, width), student as Tensor2D),
          [matrix(student, width)],
          tf.tensor1d(dLosses),
          [dStudent],
        ),
      ),
    adam: () => {
      throw new Error('Adam is no operation');
    },
    sumOfSquares: (values) => values.reduce((sum, value) => sum + value * value, 0),
  };
}
