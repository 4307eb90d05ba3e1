// A model that is played: it writes words as fast as it is let, and tells who runs.
import type { ChatModel, GenerateOptions, GenerationEvent, Prompt } from '@duobit/core';

export interface PlayedModel extends ChatModel {
  readonly calls: { readonly prompt: Prompt; readonly options: GenerateOptions }[];
  running: number;
}

export interface PlayedModelOptions {
  readonly sequences?: number;
  /** Text of each token. Default ' word'. */
  readonly word?: string;
  /** Tokens after which it has nothing more to say. Default 3. */
  readonly most?: number;
  /** Resolves before each token; default: in the next turn of the event loop. */
  readonly pace?: (signal: AbortSignal | undefined) => Promise<void>;
  /** Fails with that before its third token. */
  readonly failure?: Error;
}

export function playModel({
  sequences = 1,
  word = ' word',
  most = 3,
  pace = () => new Promise((resolve) => setImmediate(resolve)),
  failure,
}: PlayedModelOptions = {}): PlayedModel {
  const model: PlayedModel = {
    name: 'played',
    contextLength: 100_000,
    sequences,
    calls: [],
    running: 0,
    async *generate(prompt, options = {}): AsyncGenerator<GenerationEvent, void, undefined> {
      model.calls.push({ prompt, options });
      const { signal, maxTokens = most } = options;
      model.running++;
      try {
        let tokens = 0;
        while (tokens < Math.min(maxTokens, most)) {
          await pace(signal);
          if (signal?.aborted) break;
          if (failure && tokens === 2) throw failure;
          yield { kind: 'token', token: tokens++, text: word };
        }
        const timings = { prefillTokens: 3, prefillSeconds: 0, decodeTokens: tokens, decodeSeconds: 0 };
        const reason = signal?.aborted ? 'aborted' : 'length';
        yield { kind: 'finish', reason, text: '', tokens, promptTokens: 5, cachedTokens: 2, timings };
      } finally {
        model.running--;
      }
    },
  };
  return model;
}

/** A pace that stands still until the request is ended. */
export const untilAborted = (signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener('abort', () => resolve(), { once: true });
  });
