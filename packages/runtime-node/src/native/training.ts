// The training kernels of the native addon, with the checks that keep a wrong length from reaching C++.
import { availableParallelism } from 'node:os';
import type { HeadLayout, TrainingKernels, TrainingRows } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { loadAddon } from './addon.ts';
import { checkThreads, chooseInstructionSet, type InstructionSet, inMemory } from './backend.ts';
import type { AttentionNumbers, TrainerHandle, TrainingAddon } from './training-addon.ts';
import { CallChecks } from './training-checks.ts';

/** Options of `createTrainingKernels`. */
export interface TrainingKernelOptions {
  /** Default: as many as the machine runs at once, at most 8. */
  readonly threads?: number | undefined;
  /** Default: DUOBIT_ISA from the environment, else the fastest that the machine has. */
  readonly instructionSet?: InstructionSet | undefined;
}

/** A head of so many dimensions is no model's; up to here sizes of scratch fit C++'s integers. */
const MOST_HEAD_SIZE = 2 ** 16;

/**
 * Every operation throws DuobitError `TRAINING_INVALID` when lengths do not fit, and `BACKEND_OUT_OF_MEMORY`. The operations that go
 * value by value or row by row may write where they read, all but `matMul`, `attention` and their like.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without the addon or the instruction set; `BACKEND_OPTION` for bad options;
 * `BACKEND_OUT_OF_MEMORY` when threads cannot be started.
 */
export function createTrainingKernels(options: TrainingKernelOptions = {}): TrainingKernels {
  const found = loadAddon();
  if (!found.addon)
    throw new DuobitError('BACKEND_UNSUPPORTED', `the native addon cannot be used: ${found.reason}`, {
      where: 'training kernels',
      remedy: 'Build it: npx duobit-build-native',
    });
  const { addon } = found;
  const { threads = Math.min(8, availableParallelism()) } = options;
  checkThreads(threads);
  const isa = chooseInstructionSet(addon, options.instructionSet ?? process.env.DUOBIT_ISA);
  const trainer = inMemory('threads', () => addon.training.create(threads, isa));
  return new NativeKernels(addon.training, trainer, `native ${isa}`, threads);
}

/** packages/format: signs of longer rows are not defined. */
const MOST_ROTATED = 2 ** 29;

class NativeKernels implements TrainingKernels {
  readonly name: string;
  readonly threads: number;
  readonly #addon: TrainingAddon;
  readonly #trainer: TrainerHandle;

  constructor(addon: TrainingAddon, trainer: TrainerHandle, name: string, threads: number) {
    this.name = name;
    this.threads = threads;
    this.#addon = addon;
    this.#trainer = trainer;
  }

  matMul(
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
    sizes: { readonly m: number; readonly n: number; readonly k: number },
    transposed: { readonly a: boolean; readonly b: boolean },
  ): void {
    const check = new CallChecks('matMul');
    const { m, n, k } = sizes;
    const [turnA, turnB] = [transposed.a === true, transposed.b === true];
    check.counts({ m, n, k });
    check.lengths(m * k, { a });
    check.lengths(n * k, { b });
    check.lengths(m * n, { out });
    check.apart([out], [a, b]);
    inMemory('matMul', () => this.#addon.matMul(this.#trainer, a, b, out, m, n, k, turnA, turnB));
  }

  add(a: Float32Array, b: Float32Array, out: Float32Array): void {
    new CallChecks('add').lengths(a.length, { a, b, out });
    inMemory('add', () => this.#addon.add(this.#trainer, a, b, out));
  }

  rmsNorm(x: Float32Array, weight: Float32Array, epsilon: number, out: Float32Array): void {
    const check = new CallChecks('rmsNorm');
    check.numbers({ epsilon });
    const width = weight.length;
    const rows = check.rowsOf('x', x, width);
    check.lengths(width, { weight });
    check.lengths(x.length, { out });
    inMemory('rmsNorm', () => this.#addon.rmsNorm(this.#trainer, x, weight, epsilon, out, rows, width));
  }

  rmsNormGradient(
    x: Float32Array,
    weight: Float32Array,
    epsilon: number,
    dOut: Float32Array,
    dX: Float32Array,
    dWeight: Float32Array,
  ): void {
    const check = new CallChecks('rmsNormGradient');
    check.numbers({ epsilon });
    const width = weight.length;
    const rows = check.rowsOf('x', x, width);
    check.lengths(width, { weight, dWeight });
    check.lengths(x.length, { dOut, dX });
    check.apart([dWeight], [x, weight, dOut, dX]);
    inMemory('rmsNormGradient', () =>
      this.#addon.rmsNormGradient(this.#trainer, x, weight, epsilon, dOut, dX, dWeight, rows, width),
    );
  }

  rope(
    x: Float32Array,
    headCount: number,
    frequencies: Float64Array,
    rows: TrainingRows,
    inverse: boolean,
    out: Float32Array,
  ): void {
    const check = new CallChecks('rope');
    const { windows, tokens } = rows;
    if (!(frequencies instanceof Float64Array)) check.fail('frequencies are no Float64Array');
    check.counts({ windows, tokens, headCount, rows: windows * tokens, pairs: frequencies.length });
    check.lengths(windows * tokens * headCount * 2 * frequencies.length, { x, out });
    const back = inverse === true;
    inMemory('rope', () =>
      this.#addon.rope(this.#trainer, x, headCount, frequencies, windows, tokens, back, out),
    );
  }

  attention(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    heads: HeadLayout,
    rows: TrainingRows,
    span: number | null,
    out: Float32Array,
    logSums: Float32Array,
  ): void {
    const check = new CallChecks('attention');
    const shape = attentionShape(check, heads, rows, span);
    check.lengths(shape.queries, { query, out });
    check.lengths(shape.keys, { key, value });
    check.lengths(shape.sums, { logSums });
    check.apart([out, logSums], [query, key, value]);
    inMemory('attention', () =>
      this.#addon.attention(this.#trainer, ...shape.numbers, query, key, value, out, logSums),
    );
  }

  attentionGradient(
    inputs: { readonly query: Float32Array; readonly key: Float32Array; readonly value: Float32Array },
    outputs: { readonly out: Float32Array; readonly logSums: Float32Array },
    dOut: Float32Array,
    heads: HeadLayout,
    rows: TrainingRows,
    span: number | null,
    gradients: { readonly query: Float32Array; readonly key: Float32Array; readonly value: Float32Array },
  ): void {
    const check = new CallChecks('attentionGradient');
    const shape = attentionShape(check, heads, rows, span);
    const { query, key, value } = inputs;
    const { out, logSums } = outputs;
    const { query: dQuery, key: dKey, value: dValue } = gradients;
    check.lengths(shape.queries, { query, out, dOut, dQuery });
    check.lengths(shape.keys, { key, value, dKey, dValue });
    check.lengths(shape.sums, { logSums });
    const read = [query, key, value, out, logSums, dOut];
    const written = [dQuery, dKey, dValue];
    check.apart(written, read);
    inMemory('attentionGradient', () =>
      this.#addon.attentionGradient(this.#trainer, ...shape.numbers, ...read, ...written),
    );
  }

  siluMul(gate: Float32Array, up: Float32Array, out: Float32Array): void {
    new CallChecks('siluMul').lengths(gate.length, { gate, up, out });
    inMemory('siluMul', () => this.#addon.siluMul(this.#trainer, gate, up, out));
  }

  siluMulGradient(
    gate: Float32Array,
    up: Float32Array,
    dOut: Float32Array,
    dGate: Float32Array,
    dUp: Float32Array,
  ): void {
    const check = new CallChecks('siluMulGradient');
    check.lengths(gate.length, { gate, up, dOut, dGate, dUp });
    check.apart([dGate], [dUp]);
    inMemory('siluMulGradient', () => this.#addon.siluMulGradient(this.#trainer, gate, up, dOut, dGate, dUp));
  }

  rotate(x: Float32Array, width: number, inverse: boolean, out: Float32Array): void {
    const check = new CallChecks('rotate');
    const rows = check.rowsOf('x', x, width);
    if (width > MOST_ROTATED) check.fail(`rows of ${width} values cannot be rotated`);
    check.lengths(x.length, { out });
    const back = inverse === true;
    inMemory('rotate', () => this.#addon.rotate(this.#trainer, x, rows, width, back, out));
  }

  quantizeActivations(x: Float32Array, width: number, clips: Float32Array, out: Float32Array): void {
    const check = new CallChecks('quantizeActivations');
    const rows = check.rowsOf('x', x, width);
    check.lengths(2, { clips });
    check.lengths(x.length, { out });
    check.apart([out], [clips]);
    inMemory('quantizeActivations', () =>
      this.#addon.quantizeActivations(this.#trainer, x, rows, width, clips, out),
    );
  }

  quantizeActivationsGradient(
    x: Float32Array,
    width: number,
    clips: Float32Array,
    dOut: Float32Array,
    dX: Float32Array,
    dClips: Float32Array,
  ): void {
    const check = new CallChecks('quantizeActivationsGradient');
    const rows = check.rowsOf('x', x, width);
    check.lengths(2, { clips, dClips });
    check.lengths(x.length, { dOut, dX });
    check.apart([dX], [clips]);
    check.apart([dClips], [x, dOut, dX]);
    inMemory('quantizeActivationsGradient', () =>
      this.#addon.quantizeActivationsGradient(this.#trainer, x, rows, width, clips, dOut, dX, dClips),
    );
  }

  nearestLevels(
    latent: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void {
    const check = new CallChecks('nearestLevels');
    const rows = levelRows(check, latent, levels, columns, groupSize);
    check.lengths(latent.length, { out });
    check.apart([out], [levels]);
    inMemory('nearestLevels', () =>
      this.#addon.nearestLevels(this.#trainer, latent, levels, rows, columns, groupSize, out),
    );
  }

  nearestLevelsGradient(
    latent: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    dOut: Float32Array,
    dLevels: Float32Array,
  ): void {
    const check = new CallChecks('nearestLevelsGradient');
    const rows = levelRows(check, latent, levels, columns, groupSize);
    check.lengths(latent.length, { dOut });
    check.lengths(levels.length, { dLevels });
    check.apart([dLevels], [latent, dOut]);
    inMemory('nearestLevelsGradient', () =>
      this.#addon.nearestLevelsGradient(
        this.#trainer,
        latent,
        levels,
        rows,
        columns,
        groupSize,
        dOut,
        dLevels,
      ),
    );
  }

  chosenLevels(
    codes: Int32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void {
    const check = new CallChecks('chosenLevels');
    const rows = check.rowsOf('codes', codes, columns, Int32Array);
    levelsOf(check, levels, rows, columns, groupSize);
    check.lengths(codes.length, { out });
    check.apart([out], [codes, levels]);
    inMemory('chosenLevels', () =>
      this.#addon.chosenLevels(this.#trainer, codes, levels, rows, columns, groupSize, out),
    );
  }

  chosenLevelsGradient(
    codes: Int32Array,
    columns: number,
    groupSize: number,
    dOut: Float32Array,
    dLevels: Float32Array,
  ): void {
    const check = new CallChecks('chosenLevelsGradient');
    const rows = check.rowsOf('codes', codes, columns, Int32Array);
    levelsOf(check, dLevels, rows, columns, groupSize);
    check.lengths(codes.length, { dOut });
    check.apart([dLevels], [codes, dOut]);
    inMemory('chosenLevelsGradient', () =>
      this.#addon.chosenLevelsGradient(this.#trainer, codes, rows, columns, groupSize, dOut, dLevels),
    );
  }

  relaxedLevels(
    latent: Float32Array,
    bitmap: Float32Array,
    levels: Float32Array,
    columns: number,
    groupSize: number,
    out: Float32Array,
  ): void {
    const check = new CallChecks('relaxedLevels');
    const rows = levelRows(check, latent, levels, columns, groupSize);
    check.lengths(latent.length, { bitmap, out });
    check.apart([out], [levels]);
    inMemory('relaxedLevels', () =>
      this.#addon.relaxedLevels(this.#trainer, latent, bitmap, levels, rows, columns, groupSize, out),
    );
  }

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
  ): void {
    const check = new CallChecks('relaxedLevelsGradient');
    const rows = levelRows(check, latent, levels, columns, groupSize);
    check.lengths(latent.length, { bitmap, dOut, dBitmap });
    check.lengths(levels.length, { dLevels });
    check.apart([dBitmap], [levels]);
    check.apart([dLevels], [latent, bitmap, levels, dOut, dBitmap]);
    inMemory('relaxedLevelsGradient', () =>
      this.#addon.relaxedLevelsGradient(
        this.#trainer,
        latent,
        bitmap,
        levels,
        rows,
        columns,
        groupSize,
        push,
        dOut,
        dBitmap,
        dLevels,
      ),
    );
  }

  distillationLoss(teacher: Float32Array, student: Float32Array, width: number, losses: Float32Array): void {
    const check = new CallChecks('distillationLoss');
    const rows = check.rowsOf('teacher', teacher, width);
    check.lengths(teacher.length, { student });
    check.lengths(rows, { losses });
    check.apart([losses], [teacher, student]);
    inMemory('distillationLoss', () =>
      this.#addon.distillationLoss(this.#trainer, teacher, student, rows, width, losses),
    );
  }

  distillationLossGradient(
    teacher: Float32Array,
    student: Float32Array,
    width: number,
    dLosses: Float32Array,
    dStudent: Float32Array,
  ): void {
    const check = new CallChecks('distillationLossGradient');
    const rows = check.rowsOf('teacher', teacher, width);
    check.lengths(teacher.length, { student, dStudent });
    check.lengths(rows, { dLosses });
    check.apart([dStudent], [teacher, dLosses]);
    inMemory('distillationLossGradient', () =>
      this.#addon.distillationLossGradient(this.#trainer, teacher, student, rows, width, dLosses, dStudent),
    );
  }

  adam(
    parameter: Float32Array,
    gradient: Float32Array,
    mean: Float32Array,
    square: Float32Array,
    options: Parameters<TrainingKernels['adam']>[4],
  ): void {
    const check = new CallChecks('adam');
    const { rate, beta1, beta2, epsilon, step, scale } = options;
    check.numbers({ rate, beta1, beta2, epsilon, scale });
    check.counts({ step });
    if (![beta1, beta2].every((beta) => beta >= 0 && beta < 1))
      check.fail(`beta1 is ${beta1}, beta2 is ${beta2}; both must be from 0 to below 1`);
    check.lengths(parameter.length, { parameter, gradient, mean, square });
    check.apart([parameter, mean, square], [gradient]);
    inMemory('adam', () =>
      this.#addon.adam(
        this.#trainer,
        parameter,
        gradient,
        mean,
        square,
        rate,
        beta1,
        beta2,
        epsilon,
        step,
        scale,
      ),
    );
  }

  sumOfSquares(values: Float32Array): number {
    new CallChecks('sumOfSquares').lengths(values.length, { values });
    return inMemory('sumOfSquares', () => this.#addon.sumOfSquares(this.#trainer, values));
  }
}

/** Rows of latent weights. */
function levelRows(
  check: CallChecks,
  latent: Float32Array,
  levels: Float32Array,
  columns: number,
  groupSize: number,
): number {
  const rows = check.rowsOf('latent', latent, columns);
  levelsOf(check, levels, rows, columns, groupSize);
  return rows;
}

function levelsOf(
  check: CallChecks,
  levels: Float32Array,
  rows: number,
  columns: number,
  groupSize: number,
): void {
  check.counts({ groupSize });
  check.lengths(rows * Math.ceil(columns / groupSize) * 4, { levels });
}

function attentionShape(check: CallChecks, heads: HeadLayout, rows: TrainingRows, span: number | null) {
  const { headCount, kvHeadCount, headSize } = heads;
  const { windows, tokens } = rows;
  const units = windows * headCount;
  check.counts({ windows, tokens, headCount, kvHeadCount, headSize, rows: windows * tokens, units });
  if (headCount % kvHeadCount !== 0) check.fail(`${headCount} heads cannot share ${kvHeadCount} kv heads`);
  if (headSize > MOST_HEAD_SIZE) check.fail(`headSize is ${headSize}; at most ${MOST_HEAD_SIZE}`);
  if (span !== null) check.counts({ span });
  const seen = Math.min(span ?? tokens, tokens);
  const numbers: AttentionNumbers = [windows, tokens, headCount, kvHeadCount, headSize, seen];
  const row = windows * tokens;
  return {
    numbers,
    queries: row * headCount * headSize,
    keys: row * kvHeadCount * headSize,
    sums: row * headCount,
  };
}
