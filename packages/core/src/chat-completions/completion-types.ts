// Requests and answers of completions of a text, shaped as in OpenAI's older API: platform.openai.com/docs/api-reference/completions.
import type { CompletionFields, CompletionUsage } from './types.ts';

/** `null` stands for "not given" in all of it. */
export interface CompletionRequest extends CompletionFields {
  /** A text or its token ids, or several; each gets `n` choices, those of the first come first. */
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** As in OpenAI's API the default is 16. */
  readonly max_tokens?: number | null | undefined;
  /** Puts the prompt before each answer. */
  readonly echo?: boolean | null | undefined;
  /** Log-probabilities of the answer's tokens, with so many of the most likely ones, 0 to 20. Not with `echo`. */
  readonly logprobs?: number | null | undefined;
}

/** Log-probabilities of the tokens of a text. */
export interface CompletionLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  /** By their texts. As in OpenAI's API the chosen token is always among them, so that there may be one more than was asked for. */
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  /** Where in the choice's text each token begins. */
  readonly text_offset: readonly number[];
}

/** An answer, or with `stream` a piece of one. */
export interface Completion {
  readonly id: string;
  readonly object: 'text_completion';
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: number;
    readonly text: string;
    readonly logprobs: CompletionLogprobs | null;
    /** Null in all pieces but the last. */
    readonly finish_reason: 'stop' | 'length' | null;
  }[];
  /** In a stream only with `stream_options.include_usage`: in the last piece, which has no choice; null in those before. */
  readonly usage?: CompletionUsage | null;
}
