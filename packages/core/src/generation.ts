// The decoding loop: prompt in, tokens and text out, one at a time, until something ends it.
import type { SpecialTokens } from '@duobit/format';
import { listStops } from './generate-options.ts';
import type { LogitAdjustments } from './logit-adjustments.ts';
import { readLogprobs } from './logprobs.ts';
import type { SamplerOptions } from './sampler.ts';
import { createStopMatcher } from './stop-matcher.ts';
import type { StreamDecoder } from './stream-decoder.ts';
import type { Grammar, Grammars, TokenConstraint } from './token-constraint.ts';
import { createTokenStep, type StepReader } from './token-step.ts';

/** Options of `Model.generate`, with those of the sampler. */
export interface GenerateOptions extends SamplerOptions, LogitAdjustments {
  /** Most tokens to generate. Default 256. */
  readonly maxTokens?: number | undefined;
  /** A text that ends generation, or several; they are not part of the output. */
  readonly stop?: string | readonly string[] | undefined;
  /** Ends generation with reason 'aborted' before the next token. */
  readonly signal?: AbortSignal | undefined;
  /** Goes on after an end-of-text token, for benchmarks. */
  readonly ignoreEos?: boolean | undefined;
  /**
   * Gives each token its log-probability and those of so many of the most likely ones, 0 to 20: of the model's distribution, before bias,
   * penalties, grammar, temperature and filters. All logits are read for it.
   */
  readonly logprobs?: number | undefined;
  /** What the text has to be. It ends with reason 'eos' where nothing more may come. */
  readonly grammar?: Grammar | undefined;
  /** Makes constraints of grammars; needed with `grammar`, unless the model is in a worker that has its own. */
  readonly grammars?: Grammars | undefined;
}

/** A token and its log-probability. */
export interface TokenLogprob {
  readonly token: number;
  /** UTF-8 of the token, maybe of a part of a character. */
  readonly bytes: Uint8Array;
  /** Natural logarithm; -Infinity for what cannot come. */
  readonly logprob: number;
}

/** A token's, and those of the most likely tokens at its place, the best first. */
export interface TokenLogprobs extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
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
      /** Where they were asked for. */
      readonly logprobs?: TokenLogprobs | undefined;
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
  /** UTF-8 of a token, for log-probabilities. */
  readonly bytesOf: (token: number) => Uint8Array;
  /** What the text is held to. */
  readonly constraint: TokenConstraint | null;
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
  const { maxTokens = 256, ignoreEos = false, logprobs } = options;
  const { cached, contextLength, specialTokens, stream, constraint } = decoder;
  const step = createTokenStep(decoder, { ...options, keepsLogits: logprobs !== undefined });
  const seen = new Set(prompt);
  const counts = new Map<number, number>();
  const history = { seen, counts };
  const matcher = createStopMatcher(listStops(options.stop));
  const describe = (token: number, logits: Float32Array): TokenLogprobs => {
    const { of, top } = readLogprobs(logits, logprobs!);
    const tell = (id: number): TokenLogprob => ({
      token: id,
      bytes: decoder.bytesOf(id),
      logprob: of(id),
    });
    return { ...tell(token), top: top.map(tell) };
  };

  const started = performance.now();
  let allowed = constraint ? await constraint.allowed() : null;
  let choice = await step(prompt.slice(cached), cached, history, allowed);
  const prefillSeconds = (performance.now() - started) / 1000;
  const prefillTokens = choice === null ? 0 : prompt.length - cached;
  let position = prompt.length;
  let tokens = 0;
  let decodeTokens = 0;
  let decodeSeconds = 0;
  let reason: FinishReason | null = choice === null ? 'aborted' : maxTokens === 0 ? 'length' : null;
  if (constraint && allowed === null) reason ??= 'eos';

  while (reason === null && choice !== null) {
    const begun = performance.now();
    const token = choice.choose();
    if (!ignoreEos && specialTokens.eos.includes(token)) {
      reason = 'eos';
      break;
    }
    tokens++;
    seen.add(token);
    counts.set(token, (counts.get(token) ?? 0) + 1);
    const text = matcher.push(stream?.push(token) ?? '');
    const told = choice.logits && describe(token, choice.logits);
    constraint?.accept(token);
    decodeSeconds += (performance.now() - begun) / 1000;
    yield { kind: 'token', token, text, ...(told && { logprobs: told }) };

    if (matcher.stopped) {
      reason = 'stop';
      break;
    }
    const resumed = performance.now();
    allowed = constraint ? await constraint.allowed() : null;
    // What is complete ends so even where it is as long as it may be.
    if (constraint && allowed === null) reason = 'eos';
    else if (tokens >= maxTokens) reason = 'length';
    else if (position >= contextLength) reason = 'context';
    else {
      choice = await step([token], position, history, allowed);
      decodeSeconds += (performance.now() - resumed) / 1000;
      if (choice === null) reason = 'aborted';
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
