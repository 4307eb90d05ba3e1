// Options of `quantize`, their defaults and their checks.
import { createRequire } from 'node:module';
import type { Backend } from '@duobit/core';
import type { ByteSink } from '@duobit/format';
import { badOption } from './bad-option.ts';
import type { CalibrationOptions } from './calibration/windows.ts';
import type { BlockOutcome } from './distillation/block-stages.ts';
import type { DistillationOptions } from './distillation/options.ts';
import { W11_DEFAULTS, type W11LayerOptions } from './methods/w11-layer-method.ts';
import type { StageReport } from './stages/stage-report.ts';

/** What embedding and output head are stored in. */
export type EmbeddingFormat = 'q8' | 'q4' | 'f16';
/** Columns that share their levels. */
export type GroupSize = 32 | 64 | 128 | 256;
/** What is rotated, so that 4-bit inputs meet no outliers. */
export type RotationKind = 'none' | 'inputs' | 'full' | 'blocks';

/** How far a quantization is. */
export interface QuantizeProgress {
  readonly phase: 'hash' | 'calibrate' | 'distil' | 'evaluate' | 'quantize' | 'write';
  /** Tensor, block or file being worked on. */
  readonly tensor: string;
  /** Work units of this phase: weights for 'quantize', steps of blocks for 'calibrate' and 'distil', 1 for the others. */
  readonly done: number;
  readonly total: number;
}

/** Options of `quantize`. */
export interface QuantizeOptions {
  /** Embedding and head: int8 in groups of 64 ('q8', the default), int4 in groups of 32 ('q4'), or f16. */
  readonly embedding?: EmbeddingFormat;
  /** Columns that share four levels. Default 128. */
  readonly groupSize?: GroupSize;
  /** Store mu (four free levels; 2.5 bits a weight at 128) or not (symmetric levels; 2.25). Default true. */
  readonly offsets?: boolean;
  /** Text whose activations the layers are fitted to, one after the other; without it weights are fitted by themselves. */
  readonly calibration?: CalibrationOptions;
  /** Stages 2 to 4, after the calibrated fit; none without. */
  readonly distillation?: DistillationOptions;
  /**
   * Measures perplexity after each stage on that many windows of the calibration text, the ones that stages 2 to 4 hold out, with
   * and without 4-bit inputs; 0, the default, does not. It costs three runs of the model over these windows a stage, and once
   * the memory of the unquantized model.
   */
  readonly evaluationWindows?: number;
  /** Told of every stage that has ended, in order. */
  readonly onStage?: (report: StageReport) => void;
  /**
   * What the checkpoint and the windows cut from the calibration text must be, for runs that are to repeat another:
   * `Checkpoint.weightsSha256`, and the SHA-256 of all tokens as 32-bit little-endian numbers.
   */
  readonly expected?: { readonly weightsSha256?: string; readonly tokensSha256?: string };
  /** Told of every block that a stage after the first has finished. */
  readonly onBlock?: (stage: number, outcome: BlockOutcome) => void;
  /** How layers are fitted to the calibration. */
  readonly fit?: Partial<FitOptions>;
  /**
   * So that 4-bit codes meet no outliers: 'inputs', the default, rotates the input of every linear layer as the model runs.
   * 'full' or 'blocks' (of 64) rotates the residual stream and the attention values, folded into the weights, which costs
   * nothing at run time but leaves the inputs of down projections as they are; a tied head becomes a tensor of its own.
   * 'none' is the method as it is published.
   */
  readonly rotation?: RotationKind;
  /** Runs the calibration; stays the caller's. Results differ in the last bits between backends. Default: wasm. */
  readonly backend?: Backend;
  /**
   * Where blocks are kept until the container is complete, so that a calibrated run that was cut short goes on where it was
   * and gives the same bytes. Default `<outPath>.work`; null keeps nothing.
   */
  readonly workFolder?: string | null;
  /** Default 'duobit <version>'. */
  readonly producer?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Told of each piece of work that is done. */
  readonly onProgress?: (progress: QuantizeProgress) => void;
  /** Told in one line what the container will lack, before the work. */
  readonly onNotice?: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Where the container's bytes go. Default: a temporary file beside `outPath`, renamed over it at the end. */
  readonly openSink?: (path: string) => Promise<ByteSink>;
}

/** Of stage 1; docs/quantization.md has what each is worth. */
export interface FitOptions extends Omit<W11LayerOptions, 'groupSize' | 'offsets'> {
  /**
   * How far a layer's target moves from its weights to those that would give the unquantized model's outputs on the inputs
   * that it really sees, 0 to 1. 0 halves the time of calibration.
   */
  readonly correction: number;
  /** Damping of the Hessian in the correction, as a part of its mean diagonal. */
  readonly correctionDamping: number;
  /** Search the clips of each input's 4-bit quantizer, or cover each row's whole range. */
  readonly clips: 'search' | 'none';
  /** What layers are fitted to: unquantized inputs ('f16', the default), or what their 4-bit codes stand for ('a4'). */
  readonly activations: 'f16' | 'a4';
  /** Columns of each input, the largest, that are not quantized and whose weights have 8 bits. Default 0; at most 256. */
  readonly outliers: number;
}

export interface ResolvedOptions {
  readonly fit: FitOptions;
  readonly rotation: RotationKind;
  readonly embedding: EmbeddingFormat;
  readonly groupSize: GroupSize;
  readonly offsets: boolean;
  readonly producer: string;
}

/** Version written into containers. */
export const { version: VERSION }: { version: string } = createRequire(import.meta.url)('../package.json');

/** @throws DuobitError `QUANTIZE_OPTION` for a value outside its range. */
export function resolveOptions(options: QuantizeOptions): ResolvedOptions {
  const { evaluationWindows = 0 } = options;
  if (!Number.isSafeInteger(evaluationWindows) || evaluationWindows < 0)
    throw badOption('evaluationWindows', `is ${evaluationWindows}`, 'Use a whole number, 0 or more');
  const {
    embedding = 'q8',
    groupSize = 128,
    offsets = true,
    producer = `duobit ${VERSION}`,
    rotation = 'inputs',
  } = options;
  if (!['q8', 'q4', 'f16'].includes(embedding)) {
    throw badOption('embedding', `is '${embedding}'`, "Use 'q8', 'q4' or 'f16'");
  }
  if (![32, 64, 128, 256].includes(groupSize)) {
    throw badOption('groupSize', `is ${groupSize}`, 'Use 32, 64, 128 or 256');
  }
  if (!['none', 'inputs', 'full', 'blocks'].includes(rotation))
    throw badOption('rotation', `is '${rotation}'`, "Use 'none', 'inputs', 'full' or 'blocks'");
  return { embedding, groupSize, offsets, producer, rotation, fit: resolveFit(options.fit) };
}

function resolveFit(given: Partial<FitOptions> = {}): FitOptions {
  const { groupSize: _, offsets: __, ...defaults } = W11_DEFAULTS;
  const fit = {
    ...defaults,
    correction: 1,
    correctionDamping: 0.05,
    clips: 'search' as const,
    activations: 'f16' as const,
    outliers: 0,
    ...given,
  };
  const oneOf = (
    name: 'importance' | 'fit' | 'pairing' | 'clips' | 'activations',
    values: readonly string[],
  ): void => {
    if (!values.includes(fit[name]))
      throw badOption(`fit.${name}`, `is '${fit[name]}'`, `Use one of: ${values.join(', ')}`);
  };
  oneOf('importance', ['inverse', 'diagonal', 'uniform']);
  oneOf('fit', ['exact', 'em']);
  oneOf('pairing', ['nested', 'halves']);
  oneOf('clips', ['search', 'none']);
  oneOf('activations', ['f16', 'a4']);
  for (const name of ['damping', 'correction', 'correctionDamping'] as const)
    if (!(fit[name] >= 0 && fit[name] <= 1)) throw badOption(`fit.${name}`, `is ${fit[name]}`, 'Use 0 to 1');
  if (!Number.isInteger(fit.turns) || fit.turns < 0 || fit.turns > 100)
    throw badOption('fit.turns', `is ${fit.turns}`, 'Use a whole number, 0 to 100');
  if (!Number.isInteger(fit.outliers) || fit.outliers < 0 || fit.outliers > 256)
    throw badOption('fit.outliers', `is ${fit.outliers}`, 'Use a whole number, 0 to 256');
  return fit;
}
