// Who is answered when: as many answers at a time as the model has sequences, others wait in order, and what is more is refused. All
// that is counted of answers is counted here, since all of them come by.
import { type ChatModel, type GenerateOptions, type GenerationEvent, type Prompt, Turns } from '@duobit/core';
import type { LiveRequest } from './live-request.ts';
import type { Load, Metrics } from './metrics.ts';

export interface AdmissionOptions {
  readonly name: string;
  readonly queue: number;
  readonly maxTokens: number;
}

export class Admission {
  readonly #model: ChatModel;
  readonly #options: AdmissionOptions;
  readonly #turns: Turns;
  readonly #sequences: number;

  constructor(model: ChatModel, options: AdmissionOptions) {
    this.#model = model;
    this.#options = options;
    this.#sequences = model.sequences ?? 1;
    this.#turns = new Turns(this.#sequences, options.queue);
  }

  get load(): Load {
    return { running: this.#turns.taken, waiting: this.#turns.waiting, sequences: this.#sequences };
  }

  /** The model as one request sees it. */
  modelFor(live: LiveRequest, metrics: Metrics): ChatModel {
    const model = this.#model;
    return {
      name: this.#options.name,
      contextLength: model.contextLength,
      // Turns are taken in `generate`.
      sequences: Number.POSITIVE_INFINITY,
      generate: (prompt, options = {}) => this.#generate(prompt, options, live, metrics),
    };
  }

  async *#generate(
    prompt: Prompt,
    options: GenerateOptions,
    live: LiveRequest,
    metrics: Metrics,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const { maxTokens = this.#options.maxTokens } = options;
    let before = performance.now();
    const endTurn = await this.#turns.take(options.signal);
    live.begun++;
    let tokens = 0;
    try {
      const bounded = { ...options, maxTokens: Math.min(maxTokens, this.#options.maxTokens) };
      for await (const event of this.#model.generate(prompt, bounded)) {
        if (event.kind === 'token') {
          const now = performance.now();
          const took = (now - before) / 1000;
          before = now;
          metrics.noteToken();
          live.generatedTokens++;
          if (tokens++ > 0) metrics.noteNextToken(took);
          else {
            metrics.noteFirstToken(took);
            live.firstTokenSeconds ??= took;
          }
        } else {
          metrics.noteFinish(event);
          live.promptTokens += event.promptTokens;
          live.reusedTokens += event.cachedTokens;
        }
        yield event;
      }
    } catch (error) {
      metrics.noteError();
      throw error;
    } finally {
      endTurn();
    }
  }
}
