// Requests and answers of chat completions, shaped as in OpenAI's API, so that code written for it needs no change:
// platform.openai.com/docs/api-reference/chat. Only what is supported has a name here.

/** A piece of a message's text. */
export interface ChatTextPart {
  readonly type: 'text';
  readonly text: string;
}

/** A text, or parts, which are joined as they are. */
type ChatContent = string | readonly ChatTextPart[];

/** A call of a function, as the model wrote it and as it is told of it later. */
export interface ChatToolCall {
  /** What the answer of the function names. */
  readonly id: string;
  readonly type: 'function';
  /** `arguments` is JSON text; only where the output was held to the function's parameters is it sure to fit them. */
  readonly function: { readonly name: string; readonly arguments: string };
}

/** A turn of a conversation. */
export type ChatRequestMessage =
  | {
      /** 'developer' is OpenAI's newer name of 'system' and goes to the chat template as that. */
      readonly role: 'system' | 'developer' | 'user';
      readonly content: ChatContent;
      /** For templates that write names. */
      readonly name?: string | undefined;
    }
  | {
      readonly role: 'assistant';
      /** May be absent beside calls. */
      readonly content?: ChatContent | null | undefined;
      readonly tool_calls?: readonly ChatToolCall[] | undefined;
      readonly name?: string | undefined;
    }
  | {
      /** What a function that was called gave. */
      readonly role: 'tool';
      readonly content: ChatContent;
      readonly tool_call_id: string;
      /** Of the function, for templates that write it. */
      readonly name?: string | undefined;
    };

/** A function that the model may call. */
export interface ChatTool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string | undefined;
    /** A JSON schema of an object. Default: one without properties. */
    readonly parameters?: Readonly<Record<string, unknown>> | undefined;
    /** Says nothing here: calls are held to `parameters` where `tool_choice` asks for a call. */
    readonly strict?: boolean | null | undefined;
  };
}

/** 'auto': the model decides; 'required': it calls one or more; an object: it calls that one. */
export type ChatToolChoice =
  | 'none'
  | 'auto'
  | 'required'
  | { readonly type: 'function'; readonly function: { readonly name: string } };

/** What form the answer has to have. */
export type ChatResponseFormat =
  | { readonly type: 'text' }
  /** Any JSON object. */
  | { readonly type: 'json_object' }
  | {
      readonly type: 'json_schema';
      readonly json_schema: {
        readonly name: string;
        readonly description?: string | undefined;
        readonly schema?: Readonly<Record<string, unknown>> | undefined;
        /** Says nothing here: the output is always held to the schema. */
        readonly strict?: boolean | null | undefined;
      };
    };

/** What requests of chat completions and of completions have in common. `null` stands for "not given" in all of it. */
export interface CompletionFields {
  /** Ignored: there is one model, and answers carry its name. */
  readonly model?: string | null | undefined;
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
  /** From -2 to 2. Default 0. */
  readonly presence_penalty?: number | null | undefined;
  /** From -2 to 2. Default 0. */
  readonly frequency_penalty?: number | null | undefined;
  /** Added to the logits of tokens, by their ids: from -100 to 100. */
  readonly logit_bias?: Readonly<Record<string, number>> | null | undefined;
  /** The same seed gives the same answer. Default: a random one. The choice of index i has seed + i. */
  readonly seed?: number | null | undefined;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[] | null | undefined;
  /** Answers. Default 1, at most 128. */
  readonly n?: number | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | null | undefined } | null | undefined;
}

/** A request of a chat completion. */
export interface ChatCompletionRequest extends CompletionFields {
  readonly messages: readonly ChatRequestMessage[];
  /** Most tokens of the answer. Default: until the context is full. */
  readonly max_completion_tokens?: number | null | undefined;
  /** Older name of `max_completion_tokens`, which counts where both are given. */
  readonly max_tokens?: number | null | undefined;
  /** Log-probabilities of the answer's tokens: those of the model, before temperature, penalties and filters. */
  readonly logprobs?: boolean | null | undefined;
  /** How many of the most likely tokens come with each, 0 to 20; needs `logprobs`. */
  readonly top_logprobs?: number | null | undefined;
  /** Anything but 'text' needs grammars. */
  readonly response_format?: ChatResponseFormat | null | undefined;
  readonly tools?: readonly ChatTool[] | null | undefined;
  /** Default 'auto'. 'required' and a function need grammars. */
  readonly tool_choice?: ChatToolChoice | null | undefined;
  /** Default true. false: at most one call. */
  readonly parallel_tool_calls?: boolean | null | undefined;
}

/** How many tokens a request took. */
export interface CompletionUsage {
  readonly prompt_tokens: number;
  /** Without the end-of-text token. Of all choices together. */
  readonly completion_tokens: number;
  readonly total_tokens: number;
  /** Tokens of the prompt that were in the KV cache already. */
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** How many tokens a request took. */
export type ChatCompletionUsage = CompletionUsage;

/**
 * 'stop': the model ended its answer, or a stop text came; 'length': `max_tokens`, or the context is full; 'tool_calls': the model calls
 * functions.
 */
export type ChatFinishReason = 'stop' | 'length' | 'tool_calls';

/** A token that might have stood at a place, and its log-probability. */
export interface ChatTopLogprob {
  /** The token's text, U+FFFD for what is no whole character in it. */
  readonly token: string;
  /** The token's text in UTF-8. */
  readonly bytes: readonly number[];
  readonly logprob: number;
}

/** A token of the answer, and what else might have stood at its place. */
export interface ChatTokenLogprob extends ChatTopLogprob {
  /** The most likely tokens at its place, the best first. */
  readonly top_logprobs: readonly ChatTopLogprob[];
}

/** Log-probabilities of the tokens of an answer. */
export interface ChatLogprobs {
  /** Of every token of the answer but the end of text; those of a stop text are among them. */
  readonly content: readonly ChatTokenLogprob[];
  readonly refusal: null;
}

/** A whole answer. */
export interface ChatCompletion {
  readonly id: string;
  readonly object: 'chat.completion';
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: number;
    readonly message: {
      readonly role: 'assistant';
      /** Null where the answer is nothing but calls. */
      readonly content: string | null;
      readonly refusal: null;
      readonly tool_calls?: readonly ChatToolCall[];
    };
    readonly logprobs: ChatLogprobs | null;
    readonly finish_reason: ChatFinishReason;
  }[];
  readonly usage: CompletionUsage;
}

/** What a chunk adds to an answer: the role in the first, then pieces of the text and of calls, nothing in the one that ends it. */
export interface ChatDelta {
  readonly role?: 'assistant';
  readonly content?: string;
  /** A call's id and name come first, its arguments in pieces. */
  readonly tool_calls?: readonly {
    readonly index: number;
    readonly id?: string;
    readonly type?: 'function';
    readonly function?: { readonly name?: string; readonly arguments?: string };
  }[];
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
    readonly delta: ChatDelta;
    readonly logprobs: ChatLogprobs | null;
    readonly finish_reason: ChatFinishReason | null;
  }[];
  /** Only with `stream_options.include_usage`: in the last chunk, which has no choice; null in those before. */
  readonly usage?: CompletionUsage | null;
}
