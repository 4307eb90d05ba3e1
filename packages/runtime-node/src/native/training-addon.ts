// Types of the addon's training kernels: native/addon-training.cpp. Lengths must have been checked.

export type TrainerHandle = { readonly trainer: unique symbol };

/** Windows, tokens, heads, kv heads, head size, span. */
export type AttentionNumbers = readonly [number, number, number, number, number, number];

/** Float32Arrays in the order of TrainingKernels, then counts of rows and the like. */
export interface TrainingAddon {
  create(threads: number, instructionSet: string): TrainerHandle;
  matMul(
    trainer: TrainerHandle,
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
    m: number,
    n: number,
    k: number,
    aTransposed: boolean,
    bTransposed: boolean,
  ): void;
  add(trainer: TrainerHandle, a: Float32Array, b: Float32Array, out: Float32Array): void;
  rmsNorm(
    trainer: TrainerHandle,
    x: Float32Array,
    weight: Float32Array,
    epsilon: number,
    out: Float32Array,
    rows: number,
    width: number,
  ): void;
  rmsNormGradient(
    trainer: TrainerHandle,
    x: Float32Array,
    weight: Float32Array,
    epsilon: number,
    dOut: Float32Array,
    dX: Float32Array,
    dWeight: Float32Array,
    rows: number,
    width: number,
  ): void;
  rope(
    trainer: TrainerHandle,
    x: Float32Array,
    headCount: number,
    frequencies: Float64Array,
    windows: number,
    tokens: number,
    inverse: boolean,
    out: Float32Array,
  ): void;
  /** query, key, value, out, logSums */
  attention(trainer: TrainerHandle, ...rest: [...AttentionNumbers, ...Float32Array[]]): void;
  /** query, key, value, out, logSums, dOut, dQuery, dKey, dValue */
  attentionGradient(trainer: TrainerHandle, ...rest: [...AttentionNumbers, ...Float32Array[]]): void;
  siluMul(trainer: TrainerHandle, gate: Float32Array, up: Float32Array, out: Float32Array): void;
  siluMulGradient(
    trainer: TrainerHandle,
    gate: Float32Array,
    up: Float32Array,
    dOut: Float32Array,
    dGate: Float32Array,
    dUp: Float32Array,
  ): void;
  rotate(
    trainer: TrainerHandle,
    x: Float32Array,
    rows: number,
    width: number,
    inverse: boolean,
    out: Float32Array,
  ): void;
  quantizeActivations(
    trainer: TrainerHandle,
    x: Float32Array,
    rows: number,
    width: number,
    clips: Float32Array,
    out: Float32Array,
  ): void;
  quantizeActivationsGradient(
    trainer: TrainerHandle,
    x: Float32Array,
    rows: number,
    width: number,
    clips: Float32Array,
    dOut: Float32Array,
    dX: Float32Array,
    dClips: Float32Array,
  ): void;
  nearestLevels(
    trainer: TrainerHandle,
    latent: Float32Array,
    levels: Float32Array,
    rows: number,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void;
  nearestLevelsGradient(
    trainer: TrainerHandle,
    latent: Float32Array,
    levels: Float32Array,
    rows: number,
    columns: number,
    groupSize: number,
    dOut: Float32Array,
    dLevels: Float32Array,
  ): void;
  chosenLevels(
    trainer: TrainerHandle,
    codes: Int32Array,
    levels: Float32Array,
    rows: number,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void;
  chosenLevelsGradient(
    trainer: TrainerHandle,
    codes: Int32Array,
    rows: number,
    columns: number,
    groupSize: number,
    dOut: Float32Array,
    dLevels: Float32Array,
  ): void;
  relaxedLevels(
    trainer: TrainerHandle,
    latent: Float32Array,
    bitmap: Float32Array,
    levels: Float32Array,
    rows: number,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void;
  relaxedLevelsGradient(
    trainer: TrainerHandle,
    latent: Float32Array,
    bitmap: Float32Array,
    levels: Float32Array,
    rows: number,
    columns: number,
    groupSize: number,
    push: number,
    dOut: Float32Array,
    dBitmap: Float32Array,
    dLevels: Float32Array,
  ): void;
  distillationLoss(
    trainer: TrainerHandle,
    teacher: Float32Array,
    student: Float32Array,
    rows: number,
    width: number,
    losses: Float32Array,
  ): void;
  distillationLossGradient(
    trainer: TrainerHandle,
    teacher: Float32Array,
    student: Float32Array,
    rows: number,
    width: number,
    dLosses: Float32Array,
    dStudent: Float32Array,
  ): void;
  adam(
    trainer: TrainerHandle,
    parameter: Float32Array,
    gradient: Float32Array,
    mean: Float32Array,
    square: Float32Array,
    rate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    step: number,
    scale: number,
  ): void;
  sumOfSquares(trainer: TrainerHandle, values: Float32Array): number;
}
