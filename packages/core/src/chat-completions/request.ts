// Checks a request for a chat completion and puts it in the terms of generation. What would change the answer and is not supported is
// refused; what would not is ignored.
import { DuobitError } from '@duobit/format';
import type { ChatMessage } from '../chat-template.ts';
import type { GenerateOptions } from '../generation.ts';
import { resolveSampler } from '../sampler.ts';
import type { ChatCompletionRequest } from './types.ts';

export interface ChatJob {
  readonly messages: readonly ChatMessage[];
  readonly options: GenerateOptions;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

/** What is read below. */
const READ = [
  ...['messages', 'max_completion_tokens', 'max_tokens', 'temperature', 'top_p', 'top_k', 'min_p'],
  ...['repetition_penalty', 'seed', 'stop', 'stream', 'stream_options'],
];
/** Bookkeeping of OpenAI's service, which no answer depends on. */
const IGNORED = [
  ...['model', 'user', 'metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key'],
  'parallel_tool_calls',
];
const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && Object.keys(value ?? {}).length === 0;
/** What is not supported, and the values that ask for nothing. */
const NEUTRAL = new Map<string, (value: unknown) => boolean>([
  ['n', (value) => value === 1],
  ['logprobs', (value) => value === false],
  ['top_logprobs', (value) => value === 0],
  ['frequency_penalty', (value) => value === 0],
  ['presence_penalty', (value) => value === 0],
  ['logit_bias', isEmpty],
  ['tools', isEmpty],
  ['tool_choice', (value) => value === 'none' || value === 'auto'],
  ['response_format', (value) => isFields(value) && value.type === 'text'],
]);
const ROLES = new Map<unknown, string>([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
]);

/**
 * @param contextLength of the model: most tokens of an answer for which none is given
 * @throws DuobitError `CHAT_REQUEST`, `SAMPLER_OPTION`
 */
export function readChatRequest(request: ChatCompletionRequest, contextLength: number): ChatJob {
  if (!isFields(request)) throw invalid('the request', 'it is not an object', 'Give an object with messages');
  for (const [name, value] of Object.entries(request)) {
    if (isAbsent(value) || READ.includes(name) || IGNORED.includes(name) || NEUTRAL.get(name)?.(value))
      continue;
    throw invalid(name, 'it is not supported', 'Leave it out');
  }
  const streamOptions = request.stream_options ?? {};
  if (!isFields(streamOptions)) throw invalid('stream_options', 'it is not an object', 'Leave it out');
  const options = {
    maxTokens:
      readCount(request, 'max_completion_tokens') ?? readCount(request, 'max_tokens') ?? contextLength,
    temperature: readNumber(request, 'temperature') ?? 1,
    topP: readNumber(request, 'top_p'),
    topK: readNumber(request, 'top_k'),
    minP: readNumber(request, 'min_p'),
    repetitionPenalty: readNumber(request, 'repetition_penalty'),
    seed: readNumber(request, 'seed') ?? Math.floor(Math.random() * Number.MAX_SAFE_INTEGER),
    stop: readStops(request.stop),
  };
  // At once, and not when the request's turn has come.
  resolveSampler(options);
  return {
    messages: readMessages(request.messages),
    options,
    stream: request.stream === true,
    includeUsage: streamOptions.include_usage === true,
  };
}

function readMessages(messages: unknown): ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw invalid('messages', 'there are none', 'Give at least one message');
  return messages.map((message: unknown, index) => {
    const where = `messages[${index}]`;
    if (!isFields(message)) throw invalid(where, 'it is not an object', 'Give a role and a content');
    const role = ROLES.get(message.role);
    if (role === undefined)
      throw invalid(
        `${where}.role`,
        `"${String(message.role)}" is not supported`,
        `Use one of: ${[...ROLES.keys()].join(', ')}`,
      );
    for (const [name, value] of Object.entries(message))
      if (!isAbsent(value) && !isEmpty(value) && name !== 'role' && name !== 'content')
        throw invalid(`${where}.${name}`, 'it is not supported', 'Leave it out');
    return { role, content: readContent(message.content, `${where}.content`) };
  });
}

function readContent(content: unknown, where: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content))
    throw invalid(where, 'it is neither a text nor a list of parts', 'Give a text');
  return content
    .map((part: unknown, index) => {
      if (isFields(part) && part.type === 'text' && typeof part.text === 'string') return part.text;
      const type = isFields(part) ? String(part.type) : typeof part;
      throw invalid(`${where}[${index}]`, `a part of type "${type}" is not supported`, 'Give parts of text');
    })
    .join('');
}

function readStops(stop: unknown): string[] {
  const stops: unknown[] = isAbsent(stop) ? [] : Array.isArray(stop) ? stop : [stop];
  if (!stops.every((text): text is string => typeof text === 'string' && text !== ''))
    throw invalid('stop', 'it is neither a text nor a list of texts, or one is empty', 'Correct it');
  return stops;
}

function readNumber(request: ChatCompletionRequest, name: keyof ChatCompletionRequest): number | undefined {
  const value: unknown = request[name];
  if (isAbsent(value)) return undefined;
  if (typeof value !== 'number') throw invalid(name, `it is a ${typeof value}`, 'Give a number');
  return value;
}

function readCount(request: ChatCompletionRequest, name: keyof ChatCompletionRequest): number | undefined {
  const value = readNumber(request, name);
  if (value !== undefined && (!Number.isInteger(value) || value < 1))
    throw invalid(name, `it is ${value}`, 'Give a whole number, 1 or more');
  return value;
}

function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(where: string, what: string, remedy: string): DuobitError {
  return new DuobitError('CHAT_REQUEST', `the chat request cannot be answered: ${what}`, { where, remedy });
}
