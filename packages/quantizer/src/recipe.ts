// A recipe: all that determined a container's bytes, every option as it was resolved, so that the run can be repeated.
import type { Backend } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { DEFAULT_WINDOWS, resolveContext } from './calibration/windows.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import {
  type BlockStageOptions,
  type DistillationOptions,
  type EndToEndOptions,
  resolveStages,
} from './distillation/options.ts';
import type { FitOptions, QuantizeOptions, ResolvedOptions } from './options.ts';

/** Plain JSON. The same recipe, checkpoint and text give the same bytes on the same backend and engine. */
export interface Recipe {
  readonly format: 'duobit-recipe';
  readonly version: 1;
  /** What made it: 'duobit <version>'. It is written into the container. */
  readonly producer: string;
  /** SHA-256 as `Checkpoint.weightsSha256` gives it. */
  readonly model: { readonly name: string; readonly sha256: string };
  readonly embedding: ResolvedOptions['embedding'];
  readonly groupSize: ResolvedOptions['groupSize'];
  readonly offsets: boolean;
  readonly rotation: ResolvedOptions['rotation'];
  readonly metadata: Readonly<Record<string, string>>;
  /** Null without a calibration text. */
  readonly calibration: RecipeCalibration | null;
  /** Null when there is no stage after the first. */
  readonly distillation: RecipeDistillation | null;
}

/** The part of a recipe about the text. */
export interface RecipeCalibration {
  readonly context: number;
  readonly maxWindows: number;
  /** Null for windows spread evenly. */
  readonly seed: number | null;
  /** SHA-256 of the tokens of all windows, 32-bit little-endian. */
  readonly tokensSha256: string;
  /**
   * Where the text was, with the SHA-256 of the file and, of a dataset, the field that was asked for; null when the library was
   * given the text itself.
   */
  readonly file: { readonly path: string; readonly field: string | null; readonly sha256: string } | null;
  readonly fit: FitOptions;
  readonly backend: { readonly name: string; readonly instructionSet: string | null };
}

/** The part of a recipe about stages 2 to 4. */
export interface RecipeDistillation {
  readonly tokens: number;
  readonly seed: number;
  readonly weights: BlockStageOptions | null;
  readonly activations: BlockStageOptions | null;
  readonly endToEnd: EndToEndOptions | null;
  /** `Engine.device` and `Engine.name`. */
  readonly engine: { readonly device: string; readonly name: string };
}

/** @param weightsSha256 of the checkpoint */
export function makeRecipe(
  checkpoint: Checkpoint,
  weightsSha256: string,
  options: QuantizeOptions,
  { embedding, groupSize, offsets, rotation, producer, fit }: ResolvedOptions,
  calibrated: { readonly tokensSha256: string; readonly backend: Backend } | null,
): Recipe {
  const { calibration, distillation, metadata = {} } = options;
  const { maxWindows = DEFAULT_WINDOWS, seed = null } = calibration ?? {};
  return {
    format: 'duobit-recipe',
    version: 1,
    producer,
    model: { name: checkpoint.name, sha256: weightsSha256 },
    embedding,
    groupSize,
    offsets,
    rotation,
    metadata,
    calibration:
      calibrated && calibration
        ? {
            context: resolveContext(checkpoint, calibration),
            maxWindows,
            seed,
            tokensSha256: calibrated.tokensSha256,
            file: null,
            fit,
            backend: {
              name: calibrated.backend.name,
              instructionSet: calibrated.backend.instructionSet ?? null,
            },
          }
        : null,
    distillation:
      calibrated && distillation
        ? {
            tokens: distillation.tokens,
            seed: distillation.seed ?? 0,
            ...resolveStages(distillation),
            engine: { device: distillation.engine.device, name: distillation.engine.name },
          }
        : null,
  };
}

/**
 * Options of `quantize` that repeat a recipe. It refuses another checkpoint and another text; what the backend or engine is, is
 * the caller's to compare.
 * @param given what the recipe names but does not hold: the text, and what runs it
 * @throws DuobitError `RECIPE_INVALID` when something is missing
 */
export function recipeOptions(
  recipe: Recipe,
  given: Pick<QuantizeOptions, 'backend'> & {
    readonly text?: string | readonly string[];
    readonly engine?: DistillationOptions['engine'];
    readonly queue?: DistillationOptions['queue'];
  },
): QuantizeOptions {
  const { calibration, distillation } = recipe;
  const missing = (what: string): DuobitError =>
    new DuobitError('RECIPE_INVALID', `the recipe needs ${what}`, { remedy: `Give ${what}` });
  if (calibration && given.text === undefined) throw missing('a calibration text');
  if (distillation && !given.engine) throw missing('an engine to train on');
  return {
    embedding: recipe.embedding,
    groupSize: recipe.groupSize,
    offsets: recipe.offsets,
    rotation: recipe.rotation,
    // A version of Duobit says what it is itself.
    ...(recipe.producer.startsWith('duobit ') ? {} : { producer: recipe.producer }),
    metadata: recipe.metadata,
    expected: {
      weightsSha256: recipe.model.sha256,
      ...(calibration && { tokensSha256: calibration.tokensSha256 }),
    },
    ...(given.backend && { backend: given.backend }),
    ...(calibration && {
      calibration: {
        text: given.text!,
        context: calibration.context,
        maxWindows: calibration.maxWindows,
        ...(calibration.seed === null ? {} : { seed: calibration.seed }),
      },
      fit: calibration.fit,
    }),
    ...(distillation && {
      distillation: {
        engine: given.engine!,
        tokens: distillation.tokens,
        seed: distillation.seed,
        weights: distillation.weights,
        activations: distillation.activations,
        endToEnd: distillation.endToEnd,
        ...(given.queue && { queue: given.queue }),
      },
    }),
  };
}

/**
 * Of a file. What the options mean is checked by `quantize`; here only that they are all there, and nothing else: a name that is
 * not known would be left out silently.
 * @param source the file's name, for messages
 * @throws DuobitError `RECIPE_INVALID`
 */
export function parseRecipe(text: string, source: string): Recipe {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(source, '', `is no JSON: ${(error as Error).message}`);
  }
  if ((value as { format?: unknown } | null)?.format !== 'duobit-recipe')
    throw invalid(source, 'format', "is not 'duobit-recipe'");
  const { version } = value as { version?: unknown };
  if (version !== 1) throw invalid(source, 'version', `is ${JSON.stringify(version)}, not 1`);
  checkShape(value, SHAPE, source, '');
  return value as Recipe;
}

/** 'type' of a value; an object by its members; `optional` may be null. */
type Shape =
  | 'string'
  | 'number'
  | 'boolean'
  | 'strings'
  | { readonly members: Readonly<Record<string, Shape>>; readonly optional: boolean }
  | { readonly maybe: Shape };

const object = (members: Readonly<Record<string, Shape>>, optional = false): Shape => ({ members, optional });
const RATES = object({ latent: 'number', levels: 'number', clips: 'number', knee: 'number' });
const TRAINING = {
  rates: RATES,
  passes: 'number',
  batch: 'number',
  heldOut: 'number',
  clipNorm: 'number',
  seed: 'number',
} as const;
const BLOCK_TRAINING = object(
  {
    ...TRAINING,
    activations: 'string',
    inputs: 'string',
    bits: 'string',
    polarisation: 'number',
    latentStart: 'number',
    channels: 'string',
    knee: { maybe: 'number' },
  },
  true,
);

const SHAPE = object({
  format: 'string',
  version: 'number',
  producer: 'string',
  model: object({ name: 'string', sha256: 'string' }),
  embedding: 'string',
  groupSize: 'number',
  offsets: 'boolean',
  rotation: 'string',
  metadata: 'strings',
  calibration: object(
    {
      context: 'number',
      maxWindows: 'number',
      seed: { maybe: 'number' },
      tokensSha256: 'string',
      file: object({ path: 'string', field: { maybe: 'string' }, sha256: 'string' }, true),
      fit: object({
        importance: 'string',
        fit: 'string',
        pairing: 'string',
        propagate: 'boolean',
        turns: 'number',
        damping: 'number',
        correction: 'number',
        correctionDamping: 'number',
        clips: 'string',
        activations: 'string',
        outliers: 'number',
      }),
      backend: object({ name: 'string', instructionSet: { maybe: 'string' } }),
    },
    true,
  ),
  distillation: object(
    {
      tokens: 'number',
      seed: 'number',
      weights: BLOCK_TRAINING,
      activations: BLOCK_TRAINING,
      endToEnd: object({ ...TRAINING, teacherTokens: { maybe: 'number' } }, true),
      engine: object({ device: 'string', name: 'string' }),
    },
    true,
  ),
});

function checkShape(value: unknown, shape: Shape, source: string, where: string): void {
  if (typeof shape === 'object' && 'maybe' in shape) {
    if (value !== null) checkShape(value, shape.maybe, source, where);
    return;
  }
  if (shape === 'strings') {
    if (!isRecord(value) || !Object.values(value).every((entry) => typeof entry === 'string'))
      throw invalid(source, where, 'is no record of texts');
    return;
  }
  if (typeof shape === 'string') {
    if (typeof value !== shape) throw invalid(source, where, `is ${describe(value)}, not a ${shape}`);
    return;
  }
  if (value === null && shape.optional) return;
  if (!isRecord(value)) throw invalid(source, where, `is ${describe(value)}, not an object`);
  const place = (name: string): string => (where === '' ? name : `${where}.${name}`);
  for (const name of Object.keys(value))
    if (!Object.hasOwn(shape.members, name))
      throw invalid(source, place(name), 'is not known to this version');
  for (const [name, member] of Object.entries(shape.members)) {
    if (!Object.hasOwn(value, name)) throw invalid(source, place(name), 'is missing');
    checkShape(value[name], member, source, place(name));
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  return value === undefined ? 'missing' : (JSON.stringify(value)?.slice(0, 40) ?? typeof value);
}

function invalid(source: string, where: string, fact: string): DuobitError {
  return new DuobitError('RECIPE_INVALID', `${where === '' ? 'the recipe' : `member ${where}`} ${fact}`, {
    source,
    ...(where === '' ? {} : { where }),
    remedy: 'Give a recipe as `duobit quantize` writes it',
  });
}
