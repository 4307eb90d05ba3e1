// Chat completions in the shape of OpenAI's API over a model's `generate`, whole or streamed.
import { DuobitError } from '@duobit/format';
import type { FinishReason, GenerationEvent } from '../generation.ts';
import type { Model } from '../model.ts';
import { type ChatJob, readChatRequest } from './request.ts';
import { Turns } from './turns.ts';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  ChatCompletionUsage,
  ChatFinishReason,
} from './types.ts';

export interface ChatRequestOptions {
  /** Ends the answer: a whole one with the error `ABORTED`, a streamed one with what there is, without a `finish_reason`. */
  readonly signal?: AbortSignal | undefined;
}

export interface ChatCompletions {
  readonly completions: {
    /**
     * Answers a conversation. The model answers as many at a time as it has sequences: other requests wait for their turn, in order. A streamed one takes its
     * turn with the first chunk that is asked for and has it until its end; leaving the loop ends it at once.
     * @throws DuobitError `CHAT_REQUEST`, `SAMPLER_OPTION`; `MODEL_BUSY` when too many wait, or when `generate` or `forward` was
     * called directly and is running; `ABORTED`; what `Model.generate` throws. Of a streamed answer, all but the first two come with the chunks.
     */
    create(
      request: ChatCompletionRequest & { readonly stream: true },
      options?: ChatRequestOptions,
    ): Promise<AsyncIterable<ChatCompletionChunk>>;
    create(
      request: ChatCompletionRequest & { readonly stream?: false | null | undefined },
      options?: ChatRequestOptions,
    ): Promise<ChatCompletion>;
    create(
      request: ChatCompletionRequest,
      options?: ChatRequestOptions,
    ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
  };
}

/** What answers need of a model. */
export type ChatModel = Pick<Model, 'name' | 'contextLength' | 'generate'> & {
  readonly sequences?: number | undefined;
};

/** Requests that may wait while others are answered. */
const MOST_WAITING = 64;

/** Chat completions of a model. At most `mostWaiting` requests (64) wait while others are answered. */
export function createChatCompletions(
  model: ChatModel,
  { mostWaiting = MOST_WAITING }: { readonly mostWaiting?: number | undefined } = {},
): ChatCompletions {
  const turns = new Turns(model.sequences ?? 1, mostWaiting);

  async function* answer(
    { messages, options }: ChatJob,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const endTurn = await turns.take(signal);
    try {
      yield* model.generate(messages, { ...options, signal });
    } finally {
      endTurn();
    }
  }

  const create = async (
    request: ChatCompletionRequest,
    { signal }: ChatRequestOptions = {},
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> => {
    const job = readChatRequest(request, model.contextLength);
    const events = answer(job, signal);
    return job.stream
      ? streamAnswer(events, createHeading(model, 'chat.completion.chunk'), job.includeUsage, signal)
      : completeAnswer(events, createHeading(model, 'chat.completion'));
  };
  return { completions: { create: create as ChatCompletions['completions']['create'] } };
}

interface Heading<Kind extends string> {
  readonly id: string;
  readonly object: Kind;
  readonly created: number;
  readonly model: string;
}

function createHeading<Kind extends string>({ name }: ChatModel, object: Kind): Heading<Kind> {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const id = `chatcmpl-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  return { id, object, created: Math.floor(Date.now() / 1000), model: name };
}

async function completeAnswer(
  events: AsyncIterable<GenerationEvent>,
  heading: Heading<'chat.completion'>,
): Promise<ChatCompletion> {
  let content = '';
  for await (const event of events) {
    content += event.text;
    if (event.kind !== 'finish') continue;
    if (event.reason === 'aborted')
      throw new DuobitError('ABORTED', `the answer was stopped after ${event.tokens} tokens`, {
        remedy: 'Ask again',
      });
    const message = { role: 'assistant', content, refusal: null } as const;
    const choice = { index: 0, message, logprobs: null, finish_reason: nameReason(event.reason) };
    return { ...heading, choices: [choice], usage: countUsage(event) };
  }
  throw new DuobitError('INTERNAL', 'generation ended without its last event', { where: 'chat completion' });
}

async function* streamAnswer(
  events: AsyncIterable<GenerationEvent>,
  heading: Heading<'chat.completion.chunk'>,
  includeUsage: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<ChatCompletionChunk, void, undefined> {
  type Choice = ChatCompletionChunk['choices'][number];
  const write = (
    delta: Choice['delta'],
    finish_reason: ChatFinishReason | null = null,
  ): ChatCompletionChunk => ({
    ...heading,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    ...(includeUsage && { usage: null }),
  });
  let isFirst = true;
  try {
    for await (const event of events) {
      if (isFirst) yield write({ role: 'assistant', content: '' });
      isFirst = false;
      if (event.text !== '') yield write({ content: event.text });
      if (event.kind !== 'finish' || event.reason === 'aborted') continue;
      yield write({}, nameReason(event.reason));
      if (includeUsage) yield { ...heading, choices: [], usage: countUsage(event) };
    }
  } catch (error) {
    // Stopped while it waited for its turn: an empty answer, as one that was stopped later is a short one.
    if (!signal?.aborted || !(error instanceof DuobitError) || error.code !== 'ABORTED') throw error;
  }
}

function nameReason(reason: FinishReason): ChatFinishReason {
  return reason === 'length' || reason === 'context' ? 'length' : 'stop';
}

function countUsage({
  promptTokens,
  tokens,
}: Extract<GenerationEvent, { kind: 'finish' }>): ChatCompletionUsage {
  return { prompt_tokens: promptTokens, completion_tokens: tokens, total_tokens: promptTokens + tokens };
}
