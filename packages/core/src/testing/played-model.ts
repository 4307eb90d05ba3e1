// A model that is played, for what answers for models: it says what it is told to, as far as it is let.
import type { ChatModel } from '../chat-completions/answers.ts';
import type { FinishReason, GenerateOptions, GenerationEvent } from '../generation.ts';
import type { Prompt } from '../model.ts';

export interface Play {
  readonly reason?: FinishReason;
  /** Said one an event; the last event says '.', unless there is another `ending`. */
  readonly words?: readonly string[];
  readonly ending?: string;
  readonly sequences?: number;
}

/** `calls` has what the model was asked, `state` how many ask at once. */
export function playModel({
  reason = 'eos',
  words = ['One', ' two', ' three'],
  ending = '.',
  sequences,
}: Play = {}) {
  const calls: { prompt: Prompt; options: GenerateOptions }[] = [];
  const state = { running: 0, mostRunning: 0 };
  const model: ChatModel = {
    name: 'played',
    contextLength: 64,
    sequences,
    async *generate(prompt, options = {}): AsyncGenerator<GenerationEvent, void, undefined> {
      calls.push({ prompt, options });
      state.mostRunning = Math.max(state.mostRunning, ++state.running);
      try {
        const { signal, logprobs } = options;
        let tokens = 0;
        for (const text of words) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          if (signal?.aborted) break;
          const told = { token: tokens, bytes: new TextEncoder().encode(text), logprob: -1 - tokens };
          const top = Array.from({ length: logprobs ?? 0 }, (_, i) => ({
            ...told,
            logprob: told.logprob - i,
          }));
          const spoken = logprobs === undefined ? {} : { logprobs: { ...told, top } };
          yield { kind: 'token', token: tokens++, text, ...spoken };
        }
        const timings = { prefillTokens: 5, prefillSeconds: 0, decodeTokens: tokens, decodeSeconds: 0 };
        const last = signal?.aborted ? 'aborted' : reason;
        yield {
          kind: 'finish',
          reason: last,
          text: ending,
          tokens,
          promptTokens: 5,
          cachedTokens: 2,
          timings,
        };
      } finally {
        state.running--;
      }
    },
  };
  return { model, calls, state };
}

export async function takeAll<T>(answer: AsyncIterable<T> | Promise<AsyncIterable<T>>): Promise<T[]> {
  const pieces: T[] = [];
  for await (const piece of await answer) pieces.push(piece);
  return pieces;
}

export async function errorOf(act: Promise<unknown>): Promise<unknown> {
  return act.then(() => null).catch((error) => error);
}
