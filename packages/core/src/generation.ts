// The decoding loop: prompt in, tokens and text out, one at a time, until something ends it.
import { DuobitError, type SpecialTokens } from '@duobit/format';
import { resolveSampler, type SamplerOptions } from './sampler.ts';
import { createStopMatcher } from './stop-matcher.ts';
import type { StreamDecoder } from './stream-decoder.ts';
import { createTokenStep, type StepReader } from './token-step.ts';

/** Options of `Model.generate`, with those of the sampler. */
export interface GenerateOptions extends SamplerOptions {
  /** Most tokens to generate. Default 256. */
  readonly maxTokens?: number | undefined;
  /** Texts that end generation; they are not part of the output. */
  readonly stop?: readonly string[] | undefined;
  /** Ends generation with reason 'aborted' before the next token. */
  readonly signal?: AbortSignal | undefined;
  /** Goes on after an end-of-text token, for benchmarks. */
  readonly ignoreEos?: boolean | undefined;
}

/** 'length': maxTokens reached; 'context': the KV cache is full. */
export type FinishReason = 'length' | 'stop' | 'eos' | 'aborted' | 'context';

/**
 * Time inside the model and the sampler, with that of others that run beside it; time the caller takes between events, or waits for its
 * turn, is not counted.
 */
export interface Timings {
  readonly prefillTokens: number;
  readonly prefillSeconds: number;
  /** Tokens that were run through the model one at a time. */
  readonly decodeTokens: number;
  readonly decodeSeconds: number;
}

/** All events' texts joined are the generated text. */
export type GenerationEvent =
  | {
      readonly kind: 'token';
      readonly token: number;
      /** What became final with this token; '' while a character or a possible stop string is incomplete. */
      readonly text: string;
    }
  | {
      /** Always the last event. */
      readonly kind: 'finish';
      readonly reason: FinishReason;
      /** Text that was held back. */
      readonly text: string;
      /** Tokens generated, without the end-of-text token. */
      readonly tokens: number;
      readonly promptTokens: number;
      /** Of the prompt, those that were in the KV cache already and were not run again. */
      readonly cachedTokens: number;
      readonly timings: Timings;
    };

/** What the loop needs of a model. */
export interface Decoder extends StepReader {
  /** Tokens of the prompt that have been run already, not all. */
  readonly cached: number;
  readonly contextLength: number;
  readonly specialTokens: SpecialTokens;
  /** Null when the model has no tokenizer: no text comes out then. */
  readonly stream: StreamDecoder | null;
}

/** @throws DuobitError `MODEL_OPTION`, `SAMPLER_OPTION` */
export function checkGenerateOptions(options: GenerateOptions, hasTokenizer: boolean): void {
  resolveSampler(options);
  const { maxTokens = 256, stop = [] } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < 0)
    throw new DuobitError(
      'MODEL_OPTION',
      `maxTokens is ${maxTokens}; it must be a whole number, zero or more`,
      {
        where: 'maxTokens',
        remedy: 'Choose how many tokens to generate',
      },
    );
  if (stop.some((text) => text === ''))
    throw new DuobitError('MODEL_OPTION', 'a stop string is empty', {
      where: 'stop',
      remedy: 'Leave it out',
    });
  if (stop.length > 0 && !hasTokenizer)
    throw new DuobitError('MODEL_OPTION', 'stop strings need text, and the model carries no tokenizer', {
      where: 'stop',
      remedy: 'Leave them out',
    });
}

/**
 * Generates after a prompt that `checkPrompt` has let through.
 * @throws what the backend and the sampler throw.
 */
export async function* generateTokens(
  decoder: Decoder,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GenerationEvent, void, undefined> {
  const { maxTokens = 256, stop = [], ignoreEos = false } = options;
  const { cached, contextLength, specialTokens, stream } = decoder;
  const step = createTokenStep(decoder, options);
  const history = new Set(prompt);
  const matcher = createStopMatcher(stop);

  const started = performance.now();
  let choose = await step(prompt.slice(cached), cached, history);
  const prefillSeconds = (performance.now() - started) / 1000;
  const prefillTokens = choose === null ? 0 : prompt.length - cached;
  let position = prompt.length;
  let tokens = 0;
  let decodeTokens = 0;
  let decodeSeconds = 0;
  let reason: FinishReason | null = choose === null ? 'aborted' : maxTokens === 0 ? 'length' : null;

  while (reason === null && choose !== null) {
    const begun = performance.now();
    const token = choose();
    if (!ignoreEos && specialTokens.eos.includes(token)) {
      reason = 'eos';
      break;
    }
    tokens++;
    history.add(token);
    const text = matcher.push(stream?.push(token) ?? '');
    decodeSeconds += (performance.now() - begun) / 1000;
    yield { kind: 'token', token, text };

    if (matcher.stopped) reason = 'stop';
    else if (tokens >= maxTokens) reason = 'length';
    else if (position >= contextLength) reason = 'context';
    else {
      const resumed = performance.now();
      choose = await step([token], position, history);
      decodeSeconds += (performance.now() - resumed) / 1000;
      if (choose === null) reason = 'aborted';
      else {
        position++;
        decodeTokens++;
      }
    }
  }

  const ending = matcher.push(stream?.flush() ?? '');
  const text = ending + matcher.flush();
  yield {
    kind: 'finish',
    reason: matcher.stopped ? 'stop' : (reason ?? 'aborted'),
    text,
    tokens,
    promptTokens: prompt.length,
    cachedTokens: cached,
    timings: { prefillTokens, prefillSeconds, decodeTokens, decodeSeconds },
  };
}

/** @throws DuobitError `PROMPT_EMPTY`, `CONTEXT_TOO_LONG` */
export function checkPrompt(prompt: readonly number[], contextLength: number): void {
  if (prompt.length === 0)
    throw new DuobitError('PROMPT_EMPTY', 'the prompt has no tokens, and the model adds none', {
      where: 'prompt',
      remedy: 'Give at least one character',
    });
  if (prompt.length > contextLength)
    throw new DuobitError(
      'CONTEXT_TOO_LONG',
      `the prompt has ${prompt.length} tokens; the context holds ${contextLength}`,
      { where: 'prompt', remedy: 'Shorten the prompt, or load the model with a larger context length' },
    );
}
