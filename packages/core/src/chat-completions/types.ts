// Requests and answers of chat completions, shaped as in OpenAI's API, so that code written for it needs no change:
// platform.openai.com/docs/api-reference/chat. Only what is supported has a name here.

export interface ChatTextPart {
  readonly type: 'text';
  readonly text: string;
}

export interface ChatRequestMessage {
  /** 'developer' is OpenAI's newer name of 'system' and goes to the chat template as that. */
  readonly role: 'system' | 'developer' | 'user' | 'assistant';
  /** Parts are joined as they are. */
  readonly content: string | readonly ChatTextPart[];
}

/** `null` stands for "not given" in all of it. */
export interface ChatCompletionRequest {
  readonly messages: readonly ChatRequestMessage[];
  /** Ignored: there is one model, and answers carry its name. */
  readonly model?: string | null | undefined;
  /** Most tokens of the answer. Default: until the context is full. */
  readonly max_completion_tokens?: number | null | undefined;
  /** Older name of `max_completion_tokens`, which counts where both are given. */
  readonly max_tokens?: number | null | undefined;
  /** As in OpenAI's API the default is 1; 0 takes the most likely token. */
  readonly temperature?: number | null | undefined;
  /** Default 1. */
  readonly top_p?: number | null | undefined;
  /** Not in OpenAI's API. Default 0, off. */
  readonly top_k?: number | null | undefined;
  /** Not in OpenAI's API. Default 0, off. */
  readonly min_p?: number | null | undefined;
  /** Not in OpenAI's API. Default 1, off. */
  readonly repetition_penalty?: number | null | undefined;
  /** The same seed gives the same answer. Default: a random one. */
  readonly seed?: number | null | undefined;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[] | null | undefined;
  /** One answer only. */
  readonly n?: number | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | null | undefined } | null | undefined;
}

export interface ChatCompletionUsage {
  readonly prompt_tokens: number;
  /** Without the end-of-text token. */
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** 'stop': the model ended its answer, or a stop text came; 'length': `max_tokens`, or the context is full. */
export type ChatFinishReason = 'stop' | 'length';

export interface ChatCompletion {
  readonly id: string;
  readonly object: 'chat.completion';
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: number;
    readonly message: { readonly role: 'assistant'; readonly content: string; readonly refusal: null };
    readonly logprobs: null;
    readonly finish_reason: ChatFinishReason;
  }[];
  readonly usage: ChatCompletionUsage;
}

/** A piece of a streamed answer. */
export interface ChatCompletionChunk {
  readonly id: string;
  readonly object: 'chat.completion.chunk';
  /** Seconds since 1970, the same in all chunks of an answer. */
  readonly created: number;
  readonly model: string;
  /** Empty in the chunk of the usage. */
  readonly choices: readonly {
    readonly index: number;
    /** The role in the first chunk, a piece of the text in those after it, nothing in the one that ends the answer. */
    readonly delta: { readonly role?: 'assistant'; readonly content?: string };
    readonly logprobs: null;
    readonly finish_reason: ChatFinishReason | null;
  }[];
  /** Only with `stream_options.include_usage`: in the last chunk, which has no choice; null in those before. */
  readonly usage?: ChatCompletionUsage | null;
}
