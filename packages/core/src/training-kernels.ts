// The operations that training a block spends its time in, over plain f32 arrays, each with its gradient. An engine that has
// them by hand (the native addon) offers this; where none does, they are composed of TensorFlow.js operations.
//
// All matrices are row-major. `out` and gradients are written in full, never read, unless a comment says that they are added to.
// Calls are synchronous and may use threads; results do not depend on how many.
import type { HeadLayout } from './plan.ts';

/** Rows of a step: `windows` sequences of `tokens` positions each, one after the other; a window begins at position 0. */
export interface TrainingRows {
  readonly windows: number;
  readonly tokens: number;
}

/** Operations of training with their gradients, over plain arrays. */
export interface TrainingKernels {
  /** As a log names it: 'native avx2'. */
  readonly name: string;
  readonly threads: number;

  /** out [m, n] = op(a) op(b), the inner size k; a is [m, k] or, transposed, [k, m]; b [k, n] or, transposed, [n, k]. */
  matMul(
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
    sizes: { readonly m: number; readonly n: number; readonly k: number },
    transposed: { readonly a: boolean; readonly b: boolean },
  ): void;

  /** out = a + b; `out` may be one of them: residuals, and gradients that come by several ways. */
  add(a: Float32Array, b: Float32Array, out: Float32Array): void;

  /** out = x / sqrt(mean(x^2) + epsilon) * weight, row by row; x [rows, width]. */
  rmsNorm(x: Float32Array, weight: Float32Array, epsilon: number, out: Float32Array): void;
  /** dWeight [width] is summed over rows. */
  rmsNormGradient(
    x: Float32Array,
    weight: Float32Array,
    epsilon: number,
    dOut: Float32Array,
    dX: Float32Array,
    dWeight: Float32Array,
  ): void;

  /**
   * Turns the pair (x[i], x[i + headSize / 2]) of every head by position * frequencies[i]; x [windows * tokens, headCount * headSize].
   * @param inverse turns back: the gradient
   */
  rope(
    x: Float32Array,
    headCount: number,
    frequencies: Float64Array,
    rows: TrainingRows,
    inverse: boolean,
    out: Float32Array,
  ): void;

  /**
   * Causal softmax attention inside each window, scores q·k / sqrt(headSize), grouped queries.
   * @param span a position sees at most this many latest positions, itself included; null sees all
   * @param logSums [windows * tokens, headCount], log of the sum of exp(scores): what the gradient needs
   */
  attention(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    heads: HeadLayout,
    rows: TrainingRows,
    span: number | null,
    out: Float32Array,
    logSums: Float32Array,
  ): void;
  /** Gradients of query, key and value, from those of `attention`'s output. */
  attentionGradient(
    inputs: { readonly query: Float32Array; readonly key: Float32Array; readonly value: Float32Array },
    outputs: { readonly out: Float32Array; readonly logSums: Float32Array },
    dOut: Float32Array,
    heads: HeadLayout,
    rows: TrainingRows,
    span: number | null,
    gradients: { readonly query: Float32Array; readonly key: Float32Array; readonly value: Float32Array },
  ): void;

  /** out = gate * sigmoid(gate) * up */
  siluMul(gate: Float32Array, up: Float32Array, out: Float32Array): void;
  /** Gradients of gate and up, from that of `siluMul`'s output. */
  siluMulGradient(
    gate: Float32Array,
    up: Float32Array,
    dOut: Float32Array,
    dGate: Float32Array,
    dUp: Float32Array,
  ): void;

  /** out = x R, docs/format.md "Input rotations"; rows of `width`. With `inverse`, x R^T: the gradient. */
  rotate(x: Float32Array, width: number, inverse: boolean, out: Float32Array): void;

  /**
   * The values that the 4-bit codes of each row stand for, docs/numerics.md "Activations".
   * @param clips [low, high]
   */
  quantizeActivations(x: Float32Array, width: number, clips: Float32Array, out: Float32Array): void;
  /**
   * Straight through: 1 to x between the ends, 0 beyond; to an end 1 where x is beyond it, and between the ends what rounding does
   * to the step (Esser et al. 2020, LSQ, section 2.1): with v = (x - lo) / step and q its code, (q - v) / 15 to hi, its negative to
   * lo. lo = clips[0] * min, hi = clips[1] * max of the row, and min and max count as constants.
   * @param dClips [2], summed over rows
   */
  quantizeActivationsGradient(
    x: Float32Array,
    width: number,
    clips: Float32Array,
    dOut: Float32Array,
    dX: Float32Array,
    dClips: Float32Array,
  ): void;

  /**
   * Each latent weight's nearest level of its group; on a tie the lower level.
   * @param latent [rows, columns]
   * @param levels [rows, groups, 4], in any order
   */
  nearestLevels(
    latent: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void;
  /** The gradient of levels: dOut summed over the weights at each level; that of the latent weights is dOut itself. */
  nearestLevelsGradient(
    latent: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    dOut: Float32Array,
    dLevels: Float32Array,
  ): void;

  /**
   * The level of its group that each code names.
   * @param codes [rows, columns], 0 to 3; of others the last two bits count
   * @param levels [rows, groups, 4]
   */
  chosenLevels(
    codes: Int32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void;
  /** The gradient of levels: dOut summed over the weights at each level. */
  chosenLevelsGradient(
    codes: Int32Array,
    columns: number,
    groupSize: number,
    dOut: Float32Array,
    dLevels: Float32Array,
  ): void;

  /**
   * With s = 1 where the latent weight is above 0, m = 1 where the bitmap is above 1/2: level 1 + s, or where m = 1 level 3 s.
   * @param latent [rows, columns]
   * @param bitmap [rows, columns]
   * @param levels [rows, groups, 4]
   */
  relaxedLevels(
    latent: Float32Array,
    bitmap: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void;
  /**
   * To the bitmap dOut times level 3 s minus level 1 + s, and with u = 2 b - 1 push u (1 - u^2), which moves it towards 0 and 1; to the
   * levels as above. The gradient of the latent weights is dOut itself.
   */
  relaxedLevelsGradient(
    latent: Float32Array,
    bitmap: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    push: number,
    dOut: Float32Array,
    dBitmap: Float32Array,
    dLevels: Float32Array,
  ): void;

  /**
   * Of each row KL(softmax(teacher) || softmax(student)) in nats, Hinton et al. 2015 at temperature 1; rows of `width` logits.
   * @param losses [rows]
   */
  distillationLoss(teacher: Float32Array, student: Float32Array, width: number, losses: Float32Array): void;
  /** dStudent = (softmax(student) - softmax(teacher)) * dLosses[row] */
  distillationLossGradient(
    teacher: Float32Array,
    student: Float32Array,
    width: number,
    dLosses: Float32Array,
    dStudent: Float32Array,
  ): void;

  /**
   * One step of Adam (Kingma & Ba 2015, algorithm 1, epsilon outside the root), in place on parameter, mean and square.
   * `step` counts from 1.
   */
  adam(
    parameter: Float32Array,
    gradient: Float32Array,
    mean: Float32Array,
    square: Float32Array,
    options: {
      readonly rate: number;
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      readonly step: number;
      /** Multiplies the gradient first: clipping by norm. */
      readonly scale: number;
    },
  ): void;
  /** Sum of squares, in double precision. */
  sumOfSquares(values: Float32Array): number;
}
