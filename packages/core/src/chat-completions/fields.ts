// Checks fields of requests, those that all kinds of completions have among them, and puts them in the terms of generation.
import { DuobitError } from '@duobit/format';
import { checkAdjustments } from '../logit-adjustments.ts';
import { splitmix64 } from '../random.ts';
import { resolveSampler } from '../sampler.ts';
import type { AnswerOptions } from './answers.ts';
import type { CompletionFields } from './types.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** What is read below. */
const READ = [
  ...[
    'temperature',
    'top_p',
    'top_k',
    'min_p',
    'repetition_penalty',
    'presence_penalty',
    'frequency_penalty',
  ],
  ...['logit_bias', 'seed', 'stop', 'n', 'stream', 'stream_options'],
];
/** Bookkeeping of OpenAI's service, which no answer depends on. */
const IGNORED = [
  ...['model', 'user', 'metadata', 'store', 'service_tier', 'safety_identifier'],
  ...['prompt_cache_key', 'prompt_cache_options', 'prompt_cache_retention'],
];
/** As in OpenAI's API. */
const MOST_CHOICES = 128;
/** Each is looked for in every token's text, or added to every token's logits. OpenAI's API takes 4 stop texts. */
const MOST_STOPS = 64;
const MOST_BIASES = 1024;

/**
 * Refuses fields that are neither known nor ask for nothing.
 * @param read names of fields that the caller reads
 * @param neutral fields that are not supported, and the values that ask for nothing
 * @throws DuobitError `CHAT_REQUEST`
 */
export function checkFields(
  request: unknown,
  read: readonly string[],
  neutral: ReadonlyMap<string, (value: unknown) => boolean>,
): asserts request is Fields {
  if (!isFields(request)) throw invalid('the request', 'it is not an object', 'Give an object');
  for (const [name, value] of Object.entries(request)) {
    if (isAbsent(value) || [READ, IGNORED, read].some((names) => names.includes(name))) continue;
    if (!neutral.get(name)?.(value)) throw invalid(name, 'it is not supported', 'Leave it out');
  }
}

/** @throws DuobitError `CHAT_REQUEST`, `SAMPLER_OPTION` */
export function readCompletionFields(request: CompletionFields & Fields): {
  readonly options: AnswerOptions;
  readonly choices: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
} {
  const streamOptions = request.stream_options ?? {};
  if (!isFields(streamOptions)) throw invalid('stream_options', 'it is not an object', 'Leave it out');
  const choices = readCount(request, 'n') ?? 1;
  if (choices > MOST_CHOICES) throw invalid('n', `it is ${choices}`, `Ask for at most ${MOST_CHOICES}`);
  const options = {
    temperature: readNumber(request, 'temperature') ?? 1,
    topP: readNumber(request, 'top_p'),
    topK: readNumber(request, 'top_k'),
    minP: readNumber(request, 'min_p'),
    repetitionPenalty: readNumber(request, 'repetition_penalty'),
    presencePenalty: readWithin(request, 'presence_penalty', 2),
    frequencyPenalty: readWithin(request, 'frequency_penalty', 2),
    logitBias: readBias(request.logit_bias),
    seed: readSeed(request) ?? Math.floor(Math.random() * 2 ** 52),
    stop: readStops(request.stop),
  };
  // At once, and not when the request's turn has come.
  checkSampling(options);
  return {
    options,
    choices,
    stream: readFlag(request, 'stream'),
    includeUsage: readFlag(streamOptions, 'include_usage', 'stream_options.include_usage'),
  };
}

/** Fields whose options have names of another form. */
const RENAMED = /\b(?:topP|topK|minP|repetitionPenalty)\b/g;

/** @throws DuobitError `SAMPLER_OPTION`, in the names of the fields */
function checkSampling(options: AnswerOptions): void {
  try {
    resolveSampler(options);
    checkAdjustments(options);
  } catch (cause) {
    if (!(cause instanceof DuobitError)) throw cause;
    const [message, where, remedy] = [cause.message, cause.where, cause.remedy].map((text) =>
      text?.replaceAll(RENAMED, (name) => name.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`)),
    );
    throw new DuobitError(cause.code, message!, { where, remedy, cause });
  }
}

/** Clients send 64-bit seeds, which JSON rounds. Those of further choices follow it and must differ. @throws DuobitError `CHAT_REQUEST` */
function readSeed(request: Fields): number | undefined {
  const seed = readNumber(request, 'seed');
  if (seed === undefined) return undefined;
  if (!Number.isInteger(seed)) throw invalid('seed', `it is ${seed}`, 'Give a whole number');
  const isSafe = [seed, seed + MOST_CHOICES].every(Number.isSafeInteger);
  return isSafe ? seed : Number(splitmix64(BigInt(seed), 1)[0]! >> 12n);
}

function readStops(stop: unknown): string[] {
  const stops: unknown[] = isAbsent(stop) ? [] : Array.isArray(stop) ? stop : [stop];
  if (!stops.every((text): text is string => typeof text === 'string' && text !== ''))
    throw invalid('stop', 'it is neither a text nor a list of texts, or one is empty', 'Correct it');
  if (stops.length > MOST_STOPS)
    throw invalid('stop', `it has ${stops.length} texts`, `Give at most ${MOST_STOPS}`);
  return stops;
}

function readBias(bias: unknown): Readonly<Record<number, number>> | undefined {
  if (isAbsent(bias)) return undefined;
  if (!isFields(bias)) throw invalid('logit_bias', 'it is not an object', 'Give biases by token ids');
  const tokens = Object.keys(bias);
  if (tokens.length > MOST_BIASES)
    throw invalid('logit_bias', `it has ${tokens.length} tokens`, `Give at most ${MOST_BIASES}`);
  for (const token of tokens) {
    if (!/^\d+$/.test(token)) throw invalid('logit_bias', `"${token}" is no token id`, 'Give token ids');
    readWithin(bias, token, 100, `logit_bias.${token}`);
  }
  return bias as Readonly<Record<number, number>>;
}

export function readFlag(fields: Fields, name: string, where = name): boolean {
  const value = fields[name];
  if (isAbsent(value)) return false;
  if (typeof value !== 'boolean') throw invalid(where, `it is a ${typeof value}`, 'Give true or false');
  return value;
}

function readNumber(fields: Fields, name: string, where = name): number | undefined {
  const value = fields[name];
  if (isAbsent(value)) return undefined;
  if (typeof value !== 'number') throw invalid(where, `it is a ${typeof value}`, 'Give a number');
  return value;
}

function readWithin(fields: Fields, name: string, most: number, where = name): number | undefined {
  const value = readNumber(fields, name, where);
  if (value !== undefined && !(Math.abs(value) <= most))
    throw invalid(where, `it is ${value}`, `Give a number from -${most} to ${most}`);
  return value;
}

/** A whole number, `least` (by default 1) or more. */
export function readCount(fields: Fields, name: string, least = 1): number | undefined {
  const value = readNumber(fields, name);
  if (value !== undefined && (!Number.isInteger(value) || value < least))
    throw invalid(name, `it is ${value}`, `Give a whole number, ${least} or more`);
  return value;
}

export function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function invalid(where: string, what: string, remedy: string): DuobitError {
  return new DuobitError('CHAT_REQUEST', `the request cannot be answered: ${what}`, { where, remedy });
}
