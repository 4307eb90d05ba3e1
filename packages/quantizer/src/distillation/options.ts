// Options of stages 2 to 4, and what they are unless told otherwise.
import type { Engine } from '@duobit/tfjs';
import { badOption } from '../bad-option.ts';
import type { QueueOptions } from '../queue/open.ts';

/** Steps of Adam by kind of parameter, each in units of what it moves; 0 fixes it. */
export interface Rates {
  /** Of latent weights, in mean distances of a layer's levels from zero. 0 keeps the bits. */
  readonly latent: number;
  /** Of levels, in the same unit. */
  readonly levels: number;
  readonly clips: number;
  /** Of the slope ratio above the knee. */
  readonly knee: number;
}

/** Whose stream the blocks of stages 2 and 3 read. */
export const BLOCK_INPUTS = ['student', 'teacher'] as const;
/** One of `BLOCK_INPUTS`. */
export type BlockInputs = (typeof BLOCK_INPUTS)[number];

/** Of a stage that goes block by block. */
export interface BlockStageOptions {
  readonly activations: 'f16' | 'a4';
  /**
   * What a block is fed while it is trained. 'student': what the quantized blocks before it give, so that it learns to make up for
   * their errors. 'teacher': what the unquantized ones give, so that no block depends on another.
   */
  readonly inputs: BlockInputs;
  readonly rates: Rates;
  /** How often training goes through the windows; need not be whole. */
  readonly passes: number;
  /** Windows in a step. */
  readonly batch: number;
  /** Part of the windows, the last of them, that blocks are judged on and not trained. */
  readonly heldOut: number;
  readonly clipNorm: number;
  /**
   * How bits are trained. 'nearest': a latent weight takes the nearest of its group's levels. 'relaxed': a latent weight's sign and
   * a bitmap of numbers that is cut at a half (LBLLM); its rate is that of latent weights, in units of 1.
   */
  readonly bits: 'nearest' | 'relaxed';
  /** What pushing a relaxed bitmap towards 0 and 1 counts at the end of training; it grows from 0. */
  readonly polarisation: number;
  /** Latent weights begin at their level and this part of the way to the weight. */
  readonly latentStart: number;
  /** What an error in a channel of the block's output counts; quantization.md, "Stages 2 to 4". */
  readonly channels: 'variance' | 'sensitivity';
  /** Code of the knee; null trains none. */
  readonly knee: number | null;
  readonly seed: number;
}

/** Of stage 4. Rates as in `Rates`; latent weights begin at their levels. */
export interface EndToEndOptions
  extends Omit<
    BlockStageOptions,
    'activations' | 'bits' | 'channels' | 'inputs' | 'knee' | 'latentStart' | 'polarisation'
  > {
  /**
   * Of each position this many of the teacher's most likely tokens are kept, the others as one outcome, so that the teacher runs
   * once and not in every step; 8 bytes each. null runs it in every step and compares the whole vocabulary.
   */
  readonly teacherTokens: number | null;
}

/** Options of stages 2 to 4. */
export interface DistillationOptions {
  /** Opened with `openEngine`; stays the caller's. */
  readonly engine: Engine;
  /** Most tokens of the calibration text that blocks are trained and judged on. */
  readonly tokens: number;
  readonly seed?: number;
  /** Stage 2; null leaves it out. */
  readonly weights?: Partial<BlockStageOptions> | null;
  /** Stage 3; null leaves it out. */
  readonly activations?: Partial<BlockStageOptions> | null;
  /** Stage 4; null leaves it out. */
  readonly endToEnd?: Partial<EndToEndOptions> | null;
  /** Has workers train the blocks of stages 2 and 3, whose inputs have to be the teacher's; changes no byte. */
  readonly queue?: QueueOptions;
}

export const SHARED = { batch: 2, heldOut: 1 / 16, clipNorm: 1, seed: 0 } as const;

/** Stage 2. What goes with its bits is in `BITS`. */
const WEIGHT_DEFAULTS = {
  ...SHARED,
  activations: 'f16',
  inputs: 'student',
  passes: 4,
  bits: 'relaxed',
  channels: 'sensitivity',
  knee: null,
  rates: { levels: 0.003, clips: 0, knee: 0 },
} as const;

/** What goes with each way of training bits in stage 2: experiments/distillation. */
const BITS = {
  nearest: { polarisation: 0, latentStart: 0.1, latent: 0.002 },
  relaxed: { polarisation: 1, latentStart: 0.6, latent: 0.008 },
} as const;

/** The same options for nearest bits, with what goes with them. */
export function withNearestBits(options: BlockStageOptions): BlockStageOptions {
  const { latent, ...rest } = BITS.nearest;
  return { ...options, ...rest, bits: 'nearest', rates: { ...options.rates, latent } };
}

/** Stage 3. */
export const ACTIVATION_DEFAULTS: BlockStageOptions = {
  ...SHARED,
  activations: 'a4',
  inputs: 'student',
  passes: 1,
  bits: 'nearest',
  polarisation: 0,
  latentStart: 0,
  channels: 'sensitivity',
  knee: null,
  rates: { latent: 0, levels: 0.003, clips: 0.005, knee: 0 },
};

/** Stage 4. */
export const END_TO_END_DEFAULTS: EndToEndOptions = {
  ...SHARED,
  passes: 4,
  teacherTokens: null,
  rates: { latent: 0.002, levels: 0.003, clips: 0.005, knee: 0 },
};

/** How often stages 2 to 4 go through the text, by name. */
export const PRESETS = ['fast', 'balanced', 'best'] as const;
/** One of `PRESETS`. */
export type Preset = (typeof PRESETS)[number];

/** How often each stage goes through the windows. */
const PASSES: Readonly<Record<Preset, { weights: number; activations: number; endToEnd: number }>> = {
  fast: { weights: 1, activations: 0.5, endToEnd: 1 },
  balanced: { weights: 4, activations: 1, endToEnd: 4 },
  best: { weights: 4, activations: 2, endToEnd: 12 },
};

/** Stages 2 to 4, those of `stages`, as a preset has them. @param changes of the stages that have such an option */
export function presetStages(
  preset: Preset,
  stages: readonly number[],
  {
    inputs = 'student',
    batch = SHARED.batch,
    teacherTokens = null,
  }: Partial<Pick<BlockStageOptions, 'inputs' | 'batch'> & Pick<EndToEndOptions, 'teacherTokens'>> = {},
): Pick<DistillationOptions, 'weights' | 'activations' | 'endToEnd'> {
  const { weights, activations, endToEnd } = PASSES[preset];
  return {
    weights: stages.includes(2) ? { passes: weights, inputs, batch } : null,
    activations: stages.includes(3) ? { passes: activations, inputs, batch } : null,
    endToEnd: stages.includes(4) ? { passes: endToEnd, batch, teacherTokens } : null,
  };
}

/** All stages that are asked for, complete; plain JSON. */
export function resolveStages(options: DistillationOptions): {
  readonly weights: BlockStageOptions | null;
  readonly activations: BlockStageOptions | null;
  readonly endToEnd: EndToEndOptions | null;
} {
  const { seed = 0 } = options;
  const complete = <T extends { readonly rates: Rates }>(
    defaults: T,
    given: Partial<T> | null | undefined,
  ) => (given ? { ...defaults, seed, ...given, rates: { ...defaults.rates, ...given.rates } } : null);
  const stages = {
    weights: complete(weightDefaults(options.weights), options.weights),
    activations: complete(ACTIVATION_DEFAULTS, options.activations),
    endToEnd: complete(END_TO_END_DEFAULTS, options.endToEnd),
  };
  if (!Number.isInteger(options.tokens) || options.tokens < 1)
    throw badOption('distillation.tokens', `is ${options.tokens}`, 'Use a whole number above 0');
  for (const [name, stage] of Object.entries({ weights: stages.weights, activations: stages.activations }))
    if (stage) checkInputs(`distillation.${name}.inputs`, stage.inputs, options.queue !== undefined);
  for (const [name, stage] of Object.entries(stages)) if (stage) checkStage(`distillation.${name}`, stage);
  for (const name of ['weights', 'activations'] as const) {
    const stage = stages[name];
    if (stage) checkBits(`distillation.${name}`, stage);
  }
  return stages;
}

/** Of stage 2, by what bits it trains. Where the bits are fixed, nothing is to be pushed anywhere. */
function weightDefaults(given: DistillationOptions['weights']): BlockStageOptions {
  const { bits = WEIGHT_DEFAULTS.bits, rates = WEIGHT_DEFAULTS.rates } = given ?? {};
  // Other names are refused later.
  const { latent, polarisation, latentStart } = BITS[bits] ?? BITS.nearest;
  return {
    ...WEIGHT_DEFAULTS,
    rates: { ...WEIGHT_DEFAULTS.rates, latent },
    polarisation: 'latent' in rates && rates.latent === 0 ? 0 : polarisation,
    latentStart,
  };
}

function checkInputs(where: string, inputs: BlockInputs, queued: boolean): void {
  if (!BLOCK_INPUTS.includes(inputs))
    throw badOption(where, `is '${inputs}'`, `Use one of: ${BLOCK_INPUTS.join(', ')}`);
  if (queued && inputs === 'student')
    throw badOption(
      where,
      "is 'student', and workers on a queue cannot wait for each other's blocks",
      "Use 'teacher' (--inputs teacher), or no queue",
    );
}

function checkStage(where: string, stage: BlockStageOptions | EndToEndOptions): void {
  const check = (name: string, value: number, good: boolean, remedy: string): void => {
    if (!good) throw badOption(`${where}.${name}`, `is ${value}`, remedy);
  };
  const { passes, batch, heldOut, clipNorm, seed, rates } = stage;
  check('passes', passes, passes > 0 && passes <= 1000, 'Use a number above 0, at most 1000');
  check('batch', batch, Number.isInteger(batch) && batch > 0, 'Use a whole number above 0');
  check('heldOut', heldOut, heldOut > 0 && heldOut <= 0.5, 'Use a number above 0, at most 0.5');
  check('clipNorm', clipNorm, clipNorm > 0, 'Use a number above 0');
  check('seed', seed, Number.isSafeInteger(seed), 'Use a whole number');
  if ('teacherTokens' in stage) {
    const { teacherTokens: count } = stage;
    if (count !== null)
      check(
        'teacherTokens',
        count,
        Number.isInteger(count) && count > 0,
        'Use a whole number above 0, or null',
      );
  }
  for (const [name, rate] of Object.entries(rates))
    check(`rates.${name}`, rate, rate >= 0 && rate <= 1, 'Use 0 to 1');
}

function checkBits(where: string, { bits, polarisation, rates }: BlockStageOptions): void {
  if (bits !== 'nearest' && bits !== 'relaxed')
    throw badOption(`${where}.bits`, `is ${bits}`, "Use 'nearest' or 'relaxed'");
  if (!(polarisation >= 0 && polarisation <= 1000))
    throw badOption(`${where}.polarisation`, `is ${polarisation}`, 'Use 0 to 1000');
  if (polarisation > 0 && (bits !== 'relaxed' || rates.latent === 0))
    throw badOption(
      `${where}.polarisation`,
      `is ${polarisation}, but no relaxed bitmap is trained`,
      "Use 0, or bits 'relaxed' with a rate of latent weights",
    );
}
