// Completions of texts in the shape of OpenAI's older API over a model's `generate`, whole or streamed.
import { DuobitError } from '@duobit/format';
import { MOST_LOGPROBS } from '../logprobs.ts';
import type { Prompt } from '../model.ts';
import {
  type AnswerOptions,
  Answers,
  type ChatModel,
  type ChatRequestOptions,
  type CompletionOptions,
  countUsage,
  createHeading,
  endQuietly,
  type FinishEvent,
  type Heading,
  mergeChoices,
  nameReason,
  refuseAborted,
} from './answers.ts';
import type { Completion, CompletionLogprobs, CompletionRequest } from './completion-types.ts';
import { checkFields, invalid, isAbsent, readCompletionFields, readCount, readFlag } from './fields.ts';
import { writeLogprobs } from './logprobs.ts';
import type { ChatTokenLogprob } from './types.ts';

/** Continues texts, in the shape of OpenAI's API. */
export interface Completions {
  /**
   * Continues a text, or several. Turns, streams and errors are those of chat completions.
   * @throws DuobitError `CHAT_REQUEST`, `SAMPLER_OPTION`, `MODEL_BUSY`, `ABORTED`; what `Model.generate` throws
   */
  create(
    request: CompletionRequest & { readonly stream: true },
    options?: ChatRequestOptions,
  ): Promise<AsyncIterable<Completion>>;
  /** Answers whole; else as above. */
  create(
    request: CompletionRequest & { readonly stream?: false | null | undefined },
    options?: ChatRequestOptions,
  ): Promise<Completion>;
  /** As the request says. */
  create(
    request: CompletionRequest,
    options?: ChatRequestOptions,
  ): Promise<Completion | AsyncIterable<Completion>>;
}

interface CompletionJob {
  readonly prompts: readonly Prompt[];
  readonly options: AnswerOptions;
  /** Of each prompt. */
  readonly choices: number;
  readonly echo: boolean;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

/** Most choices of a request, of all its prompts together. */
const MOST_CHOICES = 1024;
/** As in OpenAI's API. */
const DEFAULT_TOKENS = 16;

/** Completions of any model. */
export function createCompletions(model: ChatModel, options: CompletionOptions = {}): Completions {
  const answers = new Answers(model, options);
  const create = async (
    request: CompletionRequest,
    { signal }: ChatRequestOptions = {},
  ): Promise<Completion | AsyncIterable<Completion>> => {
    const job = readCompletionRequest(request);
    answers.checkChoices(job.prompts.length * job.choices, job.prompts.length > 1 ? 'prompt' : 'n');
    const heading = createHeading(model, 'cmpl', 'text_completion');
    return job.stream
      ? endQuietly(streamCompletion(answers, job, heading, signal), signal)
      : completeText(answers, job, heading, signal);
  };
  return { create: create as Completions['create'] };
}

const READ = ['prompt', 'max_tokens', 'echo', 'logprobs'];

function readCompletionRequest(request: CompletionRequest): CompletionJob {
  const neutral = new Map<string, (value: unknown) => boolean>([
    ['best_of', (value) => value === 1 || value === request.n],
    ['suffix', (value) => value === ''],
  ]);
  checkFields(request, READ, neutral);
  const { options, ...rest } = readCompletionFields(request);
  const prompts = readPrompts(request.prompt);
  if (prompts.length * rest.choices > MOST_CHOICES)
    throw invalid(
      'prompt',
      `${prompts.length * rest.choices} choices are too many`,
      `Ask for ${MOST_CHOICES}`,
    );
  const echo = readFlag(request, 'echo');
  const logprobs = readCount(request, 'logprobs', 0);
  if (logprobs !== undefined && logprobs > MOST_LOGPROBS)
    throw invalid('logprobs', `it is ${logprobs}`, `Ask for at most ${MOST_LOGPROBS}`);
  if (echo && logprobs !== undefined)
    throw invalid('echo', 'it is not supported with logprobs', 'Leave one of them out');
  if (echo && prompts.some((prompt) => typeof prompt !== 'string'))
    throw invalid('echo', 'it is not supported with token ids', 'Give texts');
  return {
    ...rest,
    prompts,
    options: { ...options, maxTokens: readCount(request, 'max_tokens', 0) ?? DEFAULT_TOKENS, logprobs },
    echo,
  };
}

function readPrompts(prompt: unknown): Prompt[] {
  if (typeof prompt === 'string') return [prompt];
  if (isTokens(prompt)) return [{ tokens: prompt }];
  if (Array.isArray(prompt) && prompt.length > 0)
    return prompt.map((one: unknown, index) => {
      if (typeof one === 'string') return one;
      if (isTokens(one)) return { tokens: one };
      throw invalid(`prompt[${index}]`, 'it is neither a text nor a list of token ids', 'Correct it');
    });
  const what = isAbsent(prompt) ? 'there is none' : 'it is neither text nor token ids';
  throw invalid('prompt', what, 'Give a text, token ids, or a list of either');
}

function isTokens(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id) && id >= 0);
}

/** What an event of generation adds to a choice. */
interface TextStep {
  readonly index: number;
  readonly text: string;
  readonly logprobs: ChatTokenLogprob | null;
  readonly finish: FinishEvent | null;
}

async function* runChoice(
  answers: Answers,
  { prompts, options, choices, echo }: CompletionJob,
  index: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<TextStep, void, undefined> {
  const prompt = prompts[Math.floor(index / choices)]!;
  const seed = options.seed + (index % choices);
  let before = echo ? String(prompt) : '';
  for await (const event of answers.generate(prompt, { ...options, seed, signal })) {
    yield {
      index,
      text: before + event.text,
      logprobs: event.kind === 'token' && event.logprobs ? writeLogprobs(event.logprobs) : null,
      finish: event.kind === 'finish' ? event : null,
    };
    before = '';
  }
}

function runChoices(answers: Answers, job: CompletionJob, signal: AbortSignal | undefined) {
  return mergeChoices(job.prompts.length * job.choices, signal, (index, ending) =>
    runChoice(answers, job, index, ending),
  );
}

async function completeText(
  answers: Answers,
  job: CompletionJob,
  heading: Heading<'text_completion'>,
  signal: AbortSignal | undefined,
): Promise<Completion> {
  const drafts = Array.from({ length: job.prompts.length * job.choices }, () => ({
    text: '',
    logprobs: [] as ChatTokenLogprob[],
    finish: null as FinishEvent | null,
  }));
  for await (const { index, text, logprobs, finish } of runChoices(answers, job, signal)) {
    const draft = drafts[index]!;
    draft.text += text;
    if (logprobs) draft.logprobs.push(logprobs);
    draft.finish = finish;
    if (finish) refuseAborted(finish);
  }
  const ends: FinishEvent[] = [];
  const choices = drafts.map(({ text, logprobs, finish }, index) => {
    if (!finish) throw new DuobitError('INTERNAL', 'generation ended without its last event');
    ends.push(finish);
    return {
      index,
      text,
      logprobs: job.options.logprobs === undefined ? null : listLogprobs(logprobs, 0),
      finish_reason: nameReason(finish.reason),
    };
  });
  return { ...heading, choices, usage: countUsage(ends, job.choices) };
}

async function* streamCompletion(
  answers: Answers,
  job: CompletionJob,
  heading: Heading<'text_completion'>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Completion, void, undefined> {
  const usage = job.includeUsage ? { usage: null } : {};
  /** Where the next token of each choice begins. */
  const offsets = new Map<number, number>();
  const ends = new Map<number, FinishEvent>();
  for await (const { index, text, logprobs: told, finish } of runChoices(answers, job, signal)) {
    const offset = offsets.get(index) ?? 0;
    const logprobs = told && listLogprobs([told], offset);
    if (told) offsets.set(index, offset + told.token.length);
    const finish_reason = finish && finish.reason !== 'aborted' ? nameReason(finish.reason) : null;
    if (text !== '' || told || finish_reason)
      yield { ...heading, choices: [{ index, text, logprobs, finish_reason }], ...usage };
    if (finish && finish_reason) ends.set(index, finish);
  }
  const count = job.prompts.length * job.choices;
  if (!job.includeUsage || ends.size < count) return;
  const inOrder = Array.from({ length: count }, (_, index) => ends.get(index)!);
  yield { ...heading, choices: [], usage: countUsage(inOrder, job.choices) };
}

/** @param offset of the first token's text in that of the choice */
function listLogprobs(logprobs: readonly ChatTokenLogprob[], offset: number): CompletionLogprobs {
  let next = offset;
  return {
    tokens: logprobs.map(({ token }) => token),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map((chosen) =>
      // Different tokens may have the same text: the likelier one, which comes first, counts.
      Object.fromEntries(
        [chosen, ...[...chosen.top_logprobs].reverse()].map((one) => [one.token, one.logprob]),
      ),
    ),
    text_offset: logprobs.map(({ token }) => {
      const start = next;
      next += token.length;
      return start;
    }),
  };
}
