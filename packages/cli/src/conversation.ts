// A conversation with a model: what was said, kept within the model's context.
import type { ChatMessage, FinishReason, GenerateOptions, Model, Timings } from '@duobit/core';

/** One message of the user, and what the model answered. */
export interface Exchange {
  readonly user: string;
  readonly assistant: string;
  readonly reason: FinishReason;
  /** Tokens of the answer. */
  readonly tokens: number;
  /** Tokens of all that was said before the answer, and of them those that the KV cache still held. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly timings: Timings;
}

export class Conversation {
  readonly #model: Model;
  readonly #options: GenerateOptions & { readonly maxTokens: number };
  readonly #system: readonly ChatMessage[];
  /** User and assistant in turn. */
  #turns: ChatMessage[] = [];

  constructor(
    model: Model,
    system: string | undefined,
    options: GenerateOptions & { readonly maxTokens: number },
  ) {
    this.#model = model;
    this.#options = options;
    this.#system = system === undefined ? [] : [{ role: 'system', content: system }];
  }

  /** Begins anew, after the same system message. */
  clear(): void {
    this.#turns = [];
  }

  /**
   * Asks, and remembers question and answer. Where the context has no room for them, the oldest exchanges are forgotten; so is an
   * exchange that failed, or that was stopped before a word was said.
   * @param onText pieces of the answer, as they come
   * @param onForget how many exchanges were forgotten, before the answer begins
   * @throws what `Model.generate` throws, `CONTEXT_TOO_LONG` where the message by itself is too long
   */
  async ask(
    user: string,
    signal: AbortSignal,
    onText: (text: string) => void,
    onForget: (exchanges: number) => void,
  ): Promise<Exchange> {
    const turns: ChatMessage[] = [...this.#turns, { role: 'user', content: user }];
    const forgotten = this.#forgetOldest(turns);
    if (forgotten > 0) onForget(forgotten);
    let assistant = '';
    for await (const event of this.#model.generate([...this.#system, ...turns], {
      ...this.#options,
      signal,
    })) {
      assistant += event.text;
      if (event.text !== '') onText(event.text);
      if (event.kind === 'token') continue;
      const { reason, tokens, promptTokens, cachedTokens, timings } = event;
      if (reason !== 'aborted' || assistant !== '')
        this.#turns = [...turns, { role: 'assistant', content: assistant }];
      return { user, assistant, reason, tokens, promptTokens, cachedTokens, timings };
    }
    throw new Error('generation ended without a finish event');
  }

  /** Takes exchanges from the beginning of `turns` until an answer has room: a quarter of the context, or all that it may have. */
  #forgetOldest(turns: ChatMessage[]): number {
    const { tokenizer, contextLength } = this.#model;
    const room = Math.min(this.#options.maxTokens, Math.floor(contextLength / 4));
    const count = (): number =>
      tokenizer.encode(tokenizer.applyChatTemplate([...this.#system, ...turns]), { bos: false }).length;
    let forgotten = 0;
    for (; turns.length > 1 && count() + room > contextLength; forgotten++) turns.splice(0, 2);
    return forgotten;
  }
}
