// Recipes of `duobit quantize`: read one to repeat a run, and write one, with the report, beside the container.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Backend } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';
import {
  isReadFrom,
  parseRecipe,
  type QuantizeOptions,
  type QuantizeReport,
  type Recipe,
  type RecipeCalibration,
  recipeOptions,
  renderReport,
} from '@duobit/quantizer';
import { BACKEND_NAMES, type BackendName } from '@duobit/runtime-node';
import { DEVICES, type Device, type Engine } from '@duobit/tfjs';
import type { Command } from 'commander';
import { type Context, note } from '../context.ts';
import { readText, writeText } from '../files.ts';
import type { SideFiles } from './quantize-output.ts';

/** What may be given beside --from-recipe: none of it changes bytes, but for --backend and --device, which are told apart. */
const FREE = new Set([
  'output',
  'calibration',
  'backend',
  'device',
  'queue',
  'threads',
  'work',
  'evaluate',
  'report',
  'recipe',
  'fromRecipe',
  'tensors',
  'json',
]);

export interface OpenedRecipe {
  readonly recipe: Recipe;
  /** Whether there are stages after the first. */
  readonly staged: boolean;
  backend(context: Context): BackendName;
  readonly device: Device;
  /** Says when the bytes cannot be the same. */
  compare(backend: Backend | undefined, engine: Engine | undefined, say: (line: string) => void): void;
  options(given: Parameters<typeof recipeOptions>[1]): QuantizeOptions;
}

/** @throws DuobitError `RECIPE_INVALID`, `TEXT_UNREADABLE` */
export async function openRecipe(path: string): Promise<OpenedRecipe> {
  const recipe = parseRecipe(await readText(path, '--from-recipe'), path);
  const { calibration, distillation } = recipe;
  const oneOf = <T extends string>(name: string, value: string, known: readonly T[]): T => {
    if ((known as readonly string[]).includes(value)) return value as T;
    throw new DuobitError('RECIPE_INVALID', `member ${name} is '${value}'`, {
      source: path,
      where: name,
      remedy: `Use one of: ${known.join(', ')}`,
    });
  };
  const device = distillation
    ? oneOf('distillation.engine.device', distillation.engine.device, DEVICES)
    : 'cpu';
  return {
    recipe,
    staged: distillation !== null,
    device,
    backend(context) {
      const { name } = calibration!.backend;
      note(context, `calibration runs on ${name}, as the recipe says`);
      return oneOf('calibration.backend.name', name, BACKEND_NAMES);
    },
    compare(backend, engine, say) {
      const differ = (what: string, now: string, then: string): void => {
        if (now !== then) say(`the ${what} is ${now}, the recipe's was ${then}: the bytes can differ`);
      };
      const named = (name: string, set: string | null | undefined): string =>
        [name, set].filter(Boolean).join(' ');
      if (backend && calibration)
        differ(
          'backend',
          named(backend.name, backend.instructionSet),
          named(calibration.backend.name, calibration.backend.instructionSet),
        );
      if (engine && distillation) differ('training device', engine.name, distillation.engine.name);
    },
    options: (given) => recipeOptions(recipe, given),
  };
}

/** @throws DuobitError `QUANTIZE_OPTION` for an option that the recipe has already */
export function refuseContradictions(command: Command): void {
  for (const option of command.options) {
    const name = option.attributeName();
    if (FREE.has(name) || command.getOptionValueSource(name) !== 'cli') continue;
    throw new DuobitError('QUANTIZE_OPTION', 'the recipe has this option already', {
      where: option.long ?? name,
      remedy: 'Leave it out, or change the recipe',
    });
  }
}

type CalibrationFile = NonNullable<RecipeCalibration['file']>;

/**
 * The calibration text's file: the one given, else the recipe's.
 * @throws DuobitError `RECIPE_MISMATCH` when it is another than the recipe's; `TEXT_UNREADABLE`
 */
export async function recordFile(
  options: { readonly calibration?: string; readonly calibrationField?: string },
  opened: OpenedRecipe | null,
): Promise<CalibrationFile | null> {
  const calibration = opened?.recipe.calibration;
  if (opened && !calibration) return null;
  const recorded = calibration?.file;
  const path = options.calibration ?? recorded?.path;
  if (path === undefined) {
    if (!opened) return null;
    throw new DuobitError('RECIPE_INVALID', 'the recipe does not name its calibration text', {
      remedy: 'Give it with --calibration',
    });
  }
  const sha256 = await hashFile(path);
  if (recorded && recorded.sha256 !== sha256)
    throw new DuobitError(
      'RECIPE_MISMATCH',
      `the calibration text has the SHA-256 ${sha256}, the recipe's had ${recorded.sha256}`,
      { source: path, where: '--calibration', remedy: 'Give the file that the recipe was made with' },
    );
  return { path, field: options.calibrationField ?? recorded?.field ?? null, sha256 };
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch (cause) {
    throw new DuobitError('TEXT_UNREADABLE', (cause as Error).message, {
      source: path,
      where: '--calibration',
      remedy: 'Correct the path',
      cause,
    });
  }
  return hash.digest('hex');
}

interface SideOptions {
  readonly output: string;
  readonly calibration?: string;
  readonly report?: string | boolean;
  readonly recipe?: string | boolean;
}

/**
 * Where recipe and report go, as asked for, or beside the container after stages 2 to 4. To be called before the long work.
 * @throws DuobitError `QUANTIZE_OPTION` when one would take the place of the container, the other, a file of the checkpoint or
 * the calibration text; those of `createFileSink` when one cannot be written
 */
export async function placeSideFiles(
  { output, calibration, report, recipe }: SideOptions,
  checkpoint: string,
  staged: boolean,
): Promise<SideFiles> {
  const place = (asked: string | boolean | undefined, ending: string): string | null => {
    if (typeof asked === 'string') return asked;
    return (asked ?? staged) ? `${output}${ending}` : null;
  };
  const files = { recipe: place(recipe, '.recipe.json'), report: place(report, '.report.html') };
  const taken = [output, ...(calibration === undefined ? [] : [calibration])].map((file) => resolve(file));
  for (const [option, file] of Object.entries(files)) {
    if (file === null) continue;
    if (taken.includes(resolve(file)) || (await isReadFrom(checkpoint, file)))
      throw new DuobitError('QUANTIZE_OPTION', `${file} is another file of this run`, {
        where: `--${option}`,
        remedy: 'Give each file a name of its own',
      });
    taken.push(resolve(file));
    await (await createFileSink(file)).abort();
  }
  return files;
}

/**
 * Writes recipe and report.
 * @returns the report with a recipe that names the calibration's file
 */
export async function writeSideFiles(
  report: QuantizeReport,
  file: CalibrationFile | null,
  files: SideFiles,
): Promise<QuantizeReport> {
  const { calibration } = report.recipe;
  const recipe = { ...report.recipe, calibration: calibration && { ...calibration, file } };
  const full = { ...report, recipe };
  if (files.recipe !== null) await writeText(files.recipe, `${JSON.stringify(recipe, null, 2)}\n`);
  if (files.report !== null) await writeText(files.report, renderReport(full));
  return full;
}
