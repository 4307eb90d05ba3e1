// What completions of all kinds share: models and their turns, several choices of one request, headings and usage.
import { DuobitError } from '@duobit/format';
import type { FinishReason, GenerateOptions, GenerationEvent } from '../generation.ts';
import type { Model, Prompt } from '../model.ts';
import type { Grammars } from '../token-constraint.ts';
import { invalid } from './fields.ts';
import { Turns } from './turns.ts';
import type { CompletionUsage } from './types.ts';

/** What answers need of a model. */
export type ChatModel = Pick<Model, 'name' | 'contextLength' | 'generate'> & {
  readonly sequences?: number | undefined;
  /** Whether it makes constraints of grammars by itself. */
  readonly hasGrammars?: boolean | undefined;
};

/** Options of `createChatCompletions` and `createCompletions`. */
export interface CompletionOptions {
  /** Requests that may wait while others are answered. Default 64. */
  readonly mostWaiting?: number | undefined;
  /** For `response_format`, and for `tool_choice` that asks for a call: `createGrammars()` of `@duobit/grammar`. */
  readonly grammars?: Grammars | undefined;
  /** Whose turn it is, where several kinds of completions answer for one model; `mostWaiting` is theirs then. */
  readonly turns?: Turns | undefined;
}

/** What a request takes besides its fields. */
export interface ChatRequestOptions {
  /** Ends the answer: a whole one with the error `ABORTED`, a streamed one with what there is, without a `finish_reason`. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of generation, all but what differs between choices. */
export type AnswerOptions = Omit<GenerateOptions, 'signal' | 'ignoreEos' | 'seed'> & {
  readonly seed: number;
};

export type FinishEvent = Extract<GenerationEvent, { kind: 'finish' }>;

/** Requests that may wait while others are answered. */
const MOST_WAITING = 64;

/** Turns of a model, to be shared by what answers for it. */
export function createTurns(model: ChatModel, mostWaiting = MOST_WAITING): Turns {
  return new Turns(model.sequences ?? 1, mostWaiting);
}

/** Makes the events of the choices of requests, each when its turn has come. */
export class Answers {
  readonly #model: ChatModel;
  readonly #turns: Turns;
  readonly #grammars: Grammars | undefined;

  constructor(model: ChatModel, { mostWaiting, grammars, turns }: CompletionOptions) {
    this.#model = model;
    this.#turns = turns ?? createTurns(model, mostWaiting);
    this.#grammars = grammars;
  }

  get hasGrammars(): boolean {
    return this.#grammars !== undefined || this.#model.hasGrammars === true;
  }

  /**
   * @param where the field that asks for so many
   * @throws DuobitError `CHAT_REQUEST` for more choices than can ever have a turn or wait for one
   */
  checkChoices(count: number, where: string): void {
    const { most } = this.#turns;
    if (count > most)
      throw invalid(where, `${count} choices are more than can be written or wait here`, `Ask for ${most}`);
  }

  async *generate(
    prompt: Prompt,
    options: GenerateOptions,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const endTurn = await this.#turns.take(options.signal);
    try {
      const { grammar } = options;
      const held = grammar && this.#grammars ? { ...options, grammars: this.#grammars } : options;
      yield* this.#model.generate(prompt, held);
    } finally {
      endTurn();
    }
  }
}

/**
 * Runs what makes the choices of a request side by side, and hands on what each gives as it comes. When one fails, or the loop is left, all
 * end.
 * @param start makes choice `index`, which has to end when its signal aborts
 */
export async function* mergeChoices<T>(
  count: number,
  signal: AbortSignal | undefined,
  start: (index: number, signal: AbortSignal | undefined) => AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  const own = new AbortController();
  const sources = signal ? [signal, own.signal] : [own.signal];
  // A single choice ends when it is left; it needs no signal but the caller's. Of several each has one of its own: Node warns of many
  // listeners to one.
  const choices = Array.from({ length: count }, (_, index) =>
    start(index, count === 1 ? signal : AbortSignal.any(sources)),
  );
  type Step = { readonly choice: (typeof choices)[number]; readonly next: Promise<IteratorResult<T, void>> };
  const arrived: Step[] = [];
  let wake = (): void => {};
  // Each is listened to once. Promise.race would do so again for every event of the others, while it waits for its turn.
  const ask = (choice: Step['choice']): void => {
    const next = choice.next();
    const arrive = (): void => {
      arrived.push({ choice, next });
      wake();
    };
    next.then(arrive, arrive);
  };
  try {
    for (const choice of choices) ask(choice);
    for (let left = count; left > 0; ) {
      const step = arrived.shift();
      if (!step) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const result = await step.next;
      if (result.done) left--;
      else {
        yield result.value;
        ask(step.choice);
      }
    }
  } finally {
    own.abort();
    await Promise.allSettled(choices.map((choice) => choice.return()));
  }
}

/** Hands on what a streamed answer has. One that is stopped while it waits for its turn is empty, as one that is stopped later is short. */
export async function* endQuietly<T>(
  stream: AsyncGenerator<T, void, undefined>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, undefined> {
  try {
    yield* stream;
  } catch (error) {
    if (!signal?.aborted || !(error instanceof DuobitError) || error.code !== 'ABORTED') throw error;
  }
}

export interface Heading<Kind extends string> {
  readonly id: string;
  readonly object: Kind;
  readonly created: number;
  readonly model: string;
}

/** @param prefix of the id, 'chatcmpl' … */
export function createHeading<Kind extends string>(
  { name }: ChatModel,
  prefix: string,
  object: Kind,
): Heading<Kind> {
  return { id: createId(prefix), object, created: Math.floor(Date.now() / 1000), model: name };
}

export function createId(prefix: string, separator = '-'): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `${prefix}${separator}${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** Whether an answer may go on where it ended. */
export function isCut(reason: FinishReason): boolean {
  return reason !== 'eos' && reason !== 'stop';
}

export function nameReason(reason: FinishReason): 'stop' | 'length' {
  return isCut(reason) ? 'length' : 'stop';
}

/** @throws DuobitError `ABORTED` for an answer that was not to be streamed */
export function refuseAborted({ reason, tokens }: FinishEvent): void {
  if (reason === 'aborted')
    throw new DuobitError('ABORTED', `the answer was stopped after ${tokens} tokens`, {
      remedy: 'Ask again',
    });
}

/**
 * @param ends of all choices, in their order
 * @param perPrompt choices that each prompt has: it is counted once
 */
export function countUsage(ends: readonly FinishEvent[], perPrompt: number): CompletionUsage {
  const sum = (of: (event: FinishEvent) => number, events = ends): number =>
    events.reduce((total, event) => total + of(event), 0);
  const firsts = ends.filter((_, index) => index % perPrompt === 0);
  const prompt = sum(({ promptTokens }) => promptTokens, firsts);
  const completion = sum(({ tokens }) => tokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(({ cachedTokens }) => cachedTokens, firsts) },
  };
}
