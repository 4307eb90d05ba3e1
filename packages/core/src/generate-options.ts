// Checks of what `generate` is given, before anything is run: options and prompts.
import { type Architecture, DuobitError } from '@duobit/format';
import type { GenerateOptions } from './generation.ts';
import { checkAdjustments } from './logit-adjustments.ts';
import { MOST_LOGPROBS } from './logprobs.ts';
import { checkSignal, isObject, optionInvalid, showValue } from './option-checks.ts';
import { resolveSampler } from './sampler.ts';
import { GRAMMAR_KINDS, type Grammar } from './token-constraint.ts';

/** What options have to fit. */
export interface GenerateFacts {
  readonly architecture: Pick<Architecture, 'vocabularySize'>;
  readonly hasTokenizer: boolean;
  /** Whether the model makes constraints without `grammars`. */
  readonly hasGrammars?: boolean | undefined;
}

/** @throws DuobitError `MODEL_OPTION`, `SAMPLER_OPTION` */
export function checkGenerateOptions(options: GenerateOptions, model: GenerateFacts): void {
  const given: unknown = options;
  if (!isObject(given))
    throw optionInvalid(
      'options',
      `the options are ${showValue(given)}`,
      'Give an object, or leave them out',
    );
  resolveSampler(options);
  checkAdjustments(options, model.architecture.vocabularySize);
  checkSignal(options.signal);
  const { maxTokens = 256, logprobs = 0, ignoreEos = false, grammar } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < 0)
    throw optionInvalid(
      'maxTokens',
      `maxTokens is ${showValue(maxTokens)}; it must be a whole number, zero or more`,
      'Choose how many tokens to generate',
    );
  if (!Number.isInteger(logprobs) || logprobs < 0 || logprobs > MOST_LOGPROBS)
    throw optionInvalid(
      'logprobs',
      `logprobs is ${showValue(logprobs)}; it must be a whole number from 0 to ${MOST_LOGPROBS}`,
      'Ask for fewer, or leave it out',
    );
  if (typeof ignoreEos !== 'boolean')
    throw optionInvalid('ignoreEos', `ignoreEos is ${showValue(ignoreEos)}`, 'Give true or false');
  const stops = listStops(options.stop);
  if (grammar !== undefined) checkGrammar(grammar, options.grammars, model.hasGrammars ?? false);
  if (model.hasTokenizer) return;
  const needsText = stops.length > 0 ? 'stop' : grammar !== undefined ? 'grammar' : null;
  if (needsText !== null)
    throw optionInvalid(
      needsText,
      `${needsText} needs text, and the model carries no tokenizer`,
      'Leave it out',
    );
}

/** @throws DuobitError `MODEL_OPTION` */
export function listStops(stop: GenerateOptions['stop'] = []): readonly string[] {
  const stops: unknown = typeof stop === 'string' ? [stop] : stop;
  if (!Array.isArray(stops) || !stops.every((text) => typeof text === 'string'))
    throw optionInvalid('stop', 'stop is neither a text nor a list of texts', 'Correct it, or leave it out');
  if (stops.includes('')) throw optionInvalid('stop', 'a stop string is empty', 'Leave it out');
  return stops;
}

function checkGrammar(grammar: Grammar, grammars: GenerateOptions['grammars'], hasGrammars: boolean): void {
  const kind: unknown = (grammar as Grammar | null)?.kind;
  if (!GRAMMAR_KINDS.some((known) => known === kind))
    throw optionInvalid(
      'grammar',
      `the grammar's kind is ${showValue(kind)}; there are '${GRAMMAR_KINDS.join("', '")}'`,
      'Give a grammar with one of these kinds',
    );
  const isMade = grammars === undefined ? hasGrammars : typeof grammars?.createConstraint === 'function';
  if (!isMade)
    throw optionInvalid(
      grammars === undefined ? 'grammar' : 'grammars',
      'a grammar was given, and nothing that makes constraints of it',
      'Give createGrammars() of @duobit/grammar as grammars, too',
    );
}

/** What to do about a text that the context cannot hold: one as long as the model's own cannot be made longer. */
export function adviseShorter(what: string, contextLength: number, longest: number): string {
  return contextLength < longest
    ? `Shorten ${what}, or load the model with a larger context length, at most ${longest}`
    : `Shorten ${what}: the model has no larger context`;
}

/** @throws DuobitError `MODEL_OPTION` for a prompt that is of no kind there is */
export function checkPromptKind(prompt: unknown): void {
  if (typeof prompt === 'string' || (Array.isArray(prompt) && prompt.every(isObject))) return;
  if (isObject(prompt) && !Array.isArray(prompt)) {
    const { tokens, messages, tools } = prompt;
    if ('tokens' in prompt ? isList(tokens) : isList(messages) && messages.every(isObject))
      if (tools === undefined || isList(tools)) return;
  }
  throw optionInvalid(
    'prompt',
    `the prompt is ${showValue(prompt)} and of no kind that there is`,
    'Give a text, a list of messages, { messages, tools } or { tokens }',
  );
}

/** Typed arrays, too. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

/** @throws DuobitError `PROMPT_EMPTY`, `CONTEXT_TOO_LONG`, `PROMPT_TOKEN` */
export function checkPrompt(
  prompt: readonly number[],
  contextLength: number,
  { contextLength: longest, vocabularySize }: Pick<Architecture, 'contextLength' | 'vocabularySize'>,
): void {
  if (prompt.length === 0)
    throw new DuobitError('PROMPT_EMPTY', 'the prompt has no tokens, and the model adds none', {
      where: 'prompt',
      remedy: 'Give at least one character',
    });
  if (prompt.length > contextLength)
    throw new DuobitError(
      'CONTEXT_TOO_LONG',
      `the prompt has ${prompt.length} tokens; the context holds ${contextLength}`,
      { where: 'prompt', remedy: adviseShorter('the prompt', contextLength, longest) },
    );
  const unknown = prompt.findIndex(
    (token) => !(Number.isInteger(token) && token >= 0 && token < vocabularySize),
  );
  if (unknown >= 0)
    throw new DuobitError(
      'PROMPT_TOKEN',
      `${showValue(prompt[unknown])} is no token of the vocabulary of ${vocabularySize}`,
      { where: 'prompt', remedy: "Use the model's own tokenizer" },
    );
}
