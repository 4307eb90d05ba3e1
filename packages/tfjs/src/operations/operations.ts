// The differentiable operations that plans and distillation are made of. Three sets exist: composed of TensorFlow.js operations
// for any of its backends, on hand-written kernels where values lie in the memory of the process, and on kernels in WGSL.
import type { HeadLayout, TrainingRows } from '@duobit/core';
import type { Scalar, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';

/** What an input's quantizer does beyond its clips; docs/format.md, "Activations". */
export interface Knee {
  /** Codes up to it step by D, those above by `slopeRatio` D. */
  readonly code: number;
  /** Soft in training: any number of at least 1; 1 is no knee. */
  readonly slopeRatio: Tensor1D;
}

/** Heads, rows and span of an attention. */
export interface AttentionShape {
  readonly heads: HeadLayout;
  readonly rows: TrainingRows;
  /** A position sees at most this many latest positions, itself included; null sees all. */
  readonly span: number | null;
}

/** What plans are interpreted with, each with its gradient. */
export interface Operations {
  /** Sum of equal shapes. */
  add(a: Tensor2D, b: Tensor2D): Tensor2D;
  /** Matrices one below the other; no gradient. */
  joinRows(parts: readonly Tensor2D[]): Tensor2D;
  /** mean over rows and columns of weight[column] * (output - target)^2; no gradient goes to the target or the weights. */
  weightedError(output: Tensor2D, target: Tensor2D, weights: Tensor1D): Scalar;
  /** x W^T; x [rows, K], w [N, K] */
  linear(x: Tensor2D, weight: Tensor2D): Tensor2D;
  /** x / sqrt(mean(x^2) + epsilon) * weight (Zhang & Sennrich 2019) */
  rmsNorm(x: Tensor2D, weight: Tensor1D, epsilon: number): Tensor2D;
  /** Turns the pairs of every head by position * frequency; positions count from 0 in each window. */
  rope(x: Tensor2D, headCount: number, frequencies: Float64Array, rows: TrainingRows): Tensor2D;
  /** Causal softmax attention inside each window, grouped queries. */
  attention(query: Tensor2D, key: Tensor2D, value: Tensor2D, shape: AttentionShape): Tensor2D;
  /** gate * sigmoid(gate) * up (Shazeer 2020) */
  siluMul(gate: Tensor2D, up: Tensor2D): Tensor2D;
  /** x R, docs/format.md "Input rotations" */
  rotate(x: Tensor2D): Tensor2D;
  /**
   * The values that the 4-bit codes of each row stand for. Straight through inside the range; to the clips goes what rounding
   * does to the step (Esser et al. 2020, LSQ, section 2.1).
   * @param clips [2]: low, high
   */
  quantizeActivations(x: Tensor2D, clips: Tensor1D, knee: Knee | null): Tensor2D;
  /**
   * Each latent weight's nearest level of its group. Straight through to the latent weights, exact to the levels.
   * @param latent [N, K]
   * @param levels [N, groups * 4]
   */
  nearestLevels(latent: Tensor2D, levels: Tensor2D, groupSize: number): Tensor2D;
  /**
   * The levels that fixed codes choose; exact gradient to the levels.
   * @param codes [N, K] int32, 0 to 3
   * @param levels [N, groups * 4]
   */
  chosenLevels(codes: Tensor2D, levels: Tensor2D, groupSize: number): Tensor2D;
  /**
   * With s = 1 where the latent weight is above 0, m = 1 where the bitmap is above 1/2: level 1 + s, or where m = 1 level 3 s. Straight
   * through to the latent weights; to the bitmap that times level 3 s minus level 1 + s; exact to the levels (LBLLM, "WAT").
   * @param latent [N, K]
   * @param bitmap [N, K]
   * @param levels [N, groups * 4]
   * @param polarisation weight of the mean of (1 - |2 b - 1|^2)^2, which pushes a bitmap b towards 0 and 1: its slope is added to the
   * bitmap's gradient, whatever becomes of the value
   */
  relaxedLevels(
    latent: Tensor2D,
    bitmap: Tensor2D,
    levels: Tensor2D,
    groupSize: number,
    polarisation: number,
  ): Tensor2D;
  /** Of each row KL(softmax(teacher) || softmax(student)), nats; no gradient goes to the teacher (Hinton et al. 2015). */
  distillationLoss(teacher: Tensor2D, student: Tensor2D): Tensor1D;
}
