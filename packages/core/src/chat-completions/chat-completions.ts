// Chat completions in the shape of OpenAI's API over a model's `generate`, whole or streamed.
import { DuobitError } from '@duobit/format';
import type { GenerateOptions, GenerationEvent } from '../generation.ts';
import {
  Answers,
  type ChatModel,
  type ChatRequestOptions,
  type CompletionOptions,
  countUsage,
  createHeading,
  endQuietly,
  type FinishEvent,
  type Heading,
  isCut,
  mergeChoices,
  nameReason,
  refuseAborted,
} from './answers.ts';
import { writeLogprobs } from './logprobs.ts';
import { type ChatJob, readChatRequest } from './request.ts';
import { type AnswerPiece, ToolCallReader } from './tool-calls.ts';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  ChatDelta,
  ChatFinishReason,
  ChatTokenLogprob,
  ChatToolCall,
} from './types.ts';

/** Answers conversations, in the shape of OpenAI's API. */
export interface ChatCompletions {
  readonly completions: {
    /**
     * Answers a conversation. The model answers as many at a time as it has sequences: other requests, and other choices of one, wait for
     * their turn, in order. A streamed one takes its turn with the first chunk that is asked for and has it until its end; leaving the loop
     * ends it at once.
     * @throws DuobitError `CHAT_REQUEST`, `SAMPLER_OPTION`; `MODEL_BUSY` when too many wait, or when `generate` or `forward` was
     * called directly and is running; `ABORTED`; what `Model.generate` throws. Of a streamed answer, all but the first two come with the chunks.
     */
    create(
      request: ChatCompletionRequest & { readonly stream: true },
      options?: ChatRequestOptions,
    ): Promise<AsyncIterable<ChatCompletionChunk>>;
    /** Answers whole; else as above. */
    create(
      request: ChatCompletionRequest & { readonly stream?: false | null | undefined },
      options?: ChatRequestOptions,
    ): Promise<ChatCompletion>;
    /** As the request says. */
    create(
      request: ChatCompletionRequest,
      options?: ChatRequestOptions,
    ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
  };
}

/** Chat completions of any model. */
export function createChatCompletions(model: ChatModel, options: CompletionOptions = {}): ChatCompletions {
  const answers = new Answers(model, options);
  const create = async (
    request: ChatCompletionRequest,
    { signal }: ChatRequestOptions = {},
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> => {
    const job = readChatRequest(request, model.contextLength, answers.hasGrammars);
    answers.checkChoices(job.choices, 'n');
    if (!job.stream)
      return completeAnswer(answers, job, createHeading(model, 'chatcmpl', 'chat.completion'), signal);
    const heading = createHeading(model, 'chatcmpl', 'chat.completion.chunk');
    return endQuietly(streamAnswer(answers, job, heading, signal), signal);
  };
  return { completions: { create: create as ChatCompletions['completions']['create'] } };
}

/** What an event of generation adds to a choice. */
interface ChoiceStep extends AnswerPiece {
  readonly index: number;
  readonly logprobs: ChatTokenLogprob | null;
  readonly finish: FinishEvent | null;
}

async function* runChoice(
  answers: Answers,
  { prompt, options, tools, mostCalls }: ChatJob,
  index: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<ChoiceStep, void, undefined> {
  const seed = options.seed + index;
  const calls = tools.length > 0 ? new ToolCallReader(tools, mostCalls) : null;
  const read = (event: GenerationEvent): AnswerPiece => {
    if (!calls) return { content: event.text, calls: [] };
    const piece = calls.push(event.text);
    if (event.kind !== 'finish') return piece;
    const last = calls.flush(isCut(event.reason));
    return { content: piece.content + last.content, calls: [...piece.calls, ...last.calls] };
  };
  const settings: GenerateOptions = { ...options, seed, signal };
  for await (const event of answers.generate(prompt, settings))
    yield {
      index,
      ...read(event),
      logprobs: event.kind === 'token' && event.logprobs ? writeLogprobs(event.logprobs) : null,
      finish: event.kind === 'finish' ? event : null,
    };
}

/** An answer that was cut off says so, whatever it has: another call may have begun. */
function nameFinish({ reason }: FinishEvent, isCall: boolean): ChatFinishReason {
  return isCall && !isCut(reason) ? 'tool_calls' : nameReason(reason);
}

async function completeAnswer(
  answers: Answers,
  job: ChatJob,
  heading: Heading<'chat.completion'>,
  signal: AbortSignal | undefined,
): Promise<ChatCompletion> {
  const drafts = Array.from({ length: job.choices }, () => ({
    content: '',
    calls: [] as ChatToolCall[],
    logprobs: [] as ChatTokenLogprob[],
    finish: null as FinishEvent | null,
  }));
  const steps = mergeChoices(job.choices, signal, (index, ending) => runChoice(answers, job, index, ending));
  for await (const { index, content, calls, logprobs, finish } of steps) {
    const draft = drafts[index]!;
    draft.content += content;
    draft.calls.push(...calls);
    if (logprobs) draft.logprobs.push(logprobs);
    draft.finish = finish;
    if (finish) refuseAborted(finish);
  }
  const ends: FinishEvent[] = [];
  const choices = drafts.map(({ content, calls, logprobs, finish }, index) => {
    if (!finish) throw new DuobitError('INTERNAL', 'generation ended without its last event');
    ends.push(finish);
    const isCall = calls.length > 0;
    return {
      index,
      message: {
        role: 'assistant' as const,
        content: isCall && content === '' ? null : content,
        refusal: null,
        ...(isCall && { tool_calls: calls }),
      },
      logprobs: job.options.logprobs === undefined ? null : { content: logprobs, refusal: null },
      finish_reason: nameFinish(finish, isCall),
    };
  });
  return { ...heading, choices, usage: countUsage(ends, job.choices) };
}

async function* streamAnswer(
  answers: Answers,
  job: ChatJob,
  heading: Heading<'chat.completion.chunk'>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ChatCompletionChunk, void, undefined> {
  const write = (
    index: number,
    delta: ChatDelta,
    told: ChatTokenLogprob | null = null,
    finish_reason: ChatFinishReason | null = null,
  ): ChatCompletionChunk => {
    const logprobs = told && { content: [told], refusal: null };
    return {
      ...heading,
      choices: [{ index, delta, logprobs, finish_reason }],
      ...(job.includeUsage && { usage: null }),
    };
  };
  /** Calls of each choice that has begun. */
  const begun = new Map<number, number>();
  const ends: FinishEvent[] = [];
  const steps = mergeChoices(job.choices, signal, (index, ending) => runChoice(answers, job, index, ending));
  for await (const { index, content, calls, logprobs, finish } of steps) {
    if (!begun.has(index)) yield write(index, { role: 'assistant', content: '' });
    const count = begun.get(index) ?? 0;
    if (content !== '' || logprobs) yield write(index, { content }, logprobs);
    for (const [i, call] of calls.entries())
      yield write(index, { tool_calls: [{ index: count + i, ...call }] });
    begun.set(index, count + calls.length);
    if (!finish || finish.reason === 'aborted') continue;
    yield write(index, {}, null, nameFinish(finish, count + calls.length > 0));
    ends.push(finish);
  }
  if (job.includeUsage && ends.length === job.choices)
    yield { ...heading, choices: [], usage: countUsage(ends, job.choices) };
}
