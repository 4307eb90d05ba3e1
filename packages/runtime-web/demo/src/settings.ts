// Sampling and prompt settings: their ranges, defaults, and the browser's memory of them.
import type { GenerateOptions } from '@duobit/core';

export interface Settings {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly maxTokens: number;
  /** Null: another one for every answer. */
  readonly seed: number | null;
  readonly system: string;
  /** Lines; each ends generation where it appears. */
  readonly stop: string;
}

export const DEFAULT_SETTINGS: Settings = {
  temperature: 0.7,
  topK: 40,
  topP: 0.95,
  minP: 0,
  repetitionPenalty: 1.1,
  maxTokens: 256,
  seed: null,
  system: '',
  stop: '',
};

export interface NumberRange {
  readonly name: 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'maxTokens';
  readonly label: string;
  readonly hint: string;
  readonly least: number;
  readonly most: number;
  readonly step: number;
}

/** What sliders offer; the model itself takes more. */
export const RANGES: readonly NumberRange[] = [
  {
    name: 'temperature',
    label: 'Temperature',
    hint: '0 takes the likeliest token',
    least: 0,
    most: 2,
    step: 0.05,
  },
  { name: 'topK', label: 'Top-k', hint: 'likeliest tokens kept; 0 keeps all', least: 0, most: 256, step: 1 },
  { name: 'topP', label: 'Top-p', hint: 'probability kept; 1 keeps all', least: 0, most: 1, step: 0.01 },
  {
    name: 'minP',
    label: 'Min-p',
    hint: 'share of the likeliest; 0 keeps all',
    least: 0,
    most: 1,
    step: 0.01,
  },
  {
    name: 'repetitionPenalty',
    label: 'Repetition penalty',
    hint: '1 is off',
    least: 1,
    most: 2,
    step: 0.05,
  },
  { name: 'maxTokens', label: 'Most tokens', hint: 'of one answer', least: 1, most: 2048, step: 1 },
];

/** The highest seed that is drawn: short enough to be read and typed again. */
const MOST_DRAWN_SEED = 1_000_000;

/** What generation is told, with the seed that was given or drawn. */
export function toGenerateOptions(settings: Settings): GenerateOptions & { readonly seed: number } {
  const { temperature, topK, topP, minP, repetitionPenalty, maxTokens, seed, stop } = settings;
  return {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    maxTokens,
    seed: seed ?? Math.floor(Math.random() * MOST_DRAWN_SEED),
    stop: stop.split('\n').filter((line) => line !== ''),
  };
}

/** Takes over what fits of something stored or typed: numbers within their ranges, texts; the rest is as in `base`. */
export function mergeSettings(base: Settings, found: unknown): Settings {
  if (typeof found !== 'object' || found === null) return base;
  const given = found as Readonly<Record<string, unknown>>;
  const merged: Record<string, unknown> = { ...base };
  for (const { name, least, most, step } of RANGES) {
    const value = given[name];
    if (typeof value !== 'number' || !(value >= least && value <= most)) continue;
    merged[name] = step === 1 ? Math.round(value) : value;
  }
  for (const name of ['system', 'stop'] as const)
    if (typeof given[name] === 'string') merged[name] = given[name];
  if (given.seed === null || (Number.isSafeInteger(given.seed) && (given.seed as number) >= 0))
    merged.seed = given.seed;
  return merged as unknown as Settings;
}

const KEY = 'duobit.settings';

export function readSettings(): Settings {
  try {
    return mergeSettings(DEFAULT_SETTINGS, JSON.parse(localStorage.getItem(KEY) ?? 'null'));
  } catch {
    // Storage that is forbidden or holds something else: the defaults will do.
    return DEFAULT_SETTINGS;
  }
}

export function keepSettings(settings: Settings): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // They hold for this visit.
  }
}
