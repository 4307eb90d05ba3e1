// Checks a request for a chat completion and puts it in the terms of generation. What would change the answer and is not supported is
// refused; what would not is ignored.
import type { TemplateTool } from '../chat-template.ts';
import { MOST_LOGPROBS } from '../logprobs.ts';
import type { Prompt } from '../model.ts';
import type { Grammar } from '../token-constraint.ts';
import { TOOL_CALL_TAGS } from '../tool-messages.ts';
import type { AnswerOptions } from './answers.ts';
import {
  checkFields,
  type Fields,
  invalid,
  isAbsent,
  isFields,
  readCompletionFields,
  readCount,
  readFlag,
} from './fields.ts';
import { readFunction, readMessages, readTools } from './messages.ts';
import type { ChatCompletionRequest } from './types.ts';

export interface ChatJob {
  readonly prompt: Prompt;
  readonly options: AnswerOptions;
  readonly choices: number;
  /** Names of tools whose calls are looked for in the answer. */
  readonly tools: readonly string[];
  /** Calls that an answer may have. */
  readonly mostCalls: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

const READ = [
  ...['messages', 'max_completion_tokens', 'max_tokens', 'logprobs', 'top_logprobs', 'response_format'],
  ...['tools', 'tool_choice', 'parallel_tool_calls'],
];
/** What is not supported, and the values that ask for nothing. */
const NEUTRAL = new Map<string, (value: unknown) => boolean>([
  ['modalities', (value) => Array.isArray(value) && value.join() === 'text'],
  ['functions', (value) => Array.isArray(value) && value.length === 0],
  ['function_call', (value) => value === 'none' || value === 'auto'],
]);

/**
 * @param contextLength of the model: most tokens of an answer for which none is given
 * @param hasGrammars whether answers can be held to a grammar
 * @throws DuobitError `CHAT_REQUEST`, `SAMPLER_OPTION`
 */
export function readChatRequest(
  request: ChatCompletionRequest,
  contextLength: number,
  hasGrammars: boolean,
): ChatJob {
  checkFields(request, READ, NEUTRAL);
  const { options, ...rest } = readCompletionFields(request);
  const messages = readMessages(request.messages);
  const { tools, called, single } = readToolUse(request);
  const format = readResponseFormat(request.response_format);
  if (format && tools.length > 0)
    throw invalid('response_format', 'it is not supported beside tools', 'Leave one of them out');
  const grammar = format ?? called;
  if (grammar && !hasGrammars)
    throw invalid(
      format ? 'response_format' : 'tool_choice',
      'nothing here holds answers to a grammar',
      'Give createGrammars() of @duobit/grammar as grammars',
    );
  return {
    ...rest,
    prompt: tools.length > 0 ? { messages, tools } : messages,
    options: {
      ...options,
      maxTokens:
        readCount(request, 'max_completion_tokens') ?? readCount(request, 'max_tokens') ?? contextLength,
      logprobs: readLogprobs(request),
      grammar,
    },
    tools: tools.map((tool) => tool.function.name),
    mostCalls: single ? 1 : Number.POSITIVE_INFINITY,
  };
}

function readLogprobs(request: Fields): number | undefined {
  const isWanted = readFlag(request, 'logprobs');
  const top = readCount(request, 'top_logprobs', 0) ?? 0;
  if (top > MOST_LOGPROBS) throw invalid('top_logprobs', `it is ${top}`, `Ask for at most ${MOST_LOGPROBS}`);
  if (top > 0 && !isWanted) throw invalid('top_logprobs', 'it needs logprobs', 'Add logprobs: true');
  return isWanted ? top : undefined;
}

interface ToolUse {
  /** What the model is told of. */
  readonly tools: readonly TemplateTool[];
  /** Holds the answer to calls, where one has to come. */
  readonly called: Grammar | undefined;
  /** At most one call. */
  readonly single: boolean;
}

function readToolUse(request: Fields): ToolUse {
  const tools = readTools(request.tools);
  const choice = request.tool_choice ?? 'auto';
  const single = !isAbsent(request.parallel_tool_calls) && !readFlag(request, 'parallel_tool_calls');
  if (choice === 'none') return { tools: [], called: undefined, single };
  if (choice === 'auto') return { tools, called: undefined, single };
  const name = choice === 'required' ? null : readFunction(choice, 'tool_choice').name;
  const wanted = tools.filter((tool) => name === null || tool.function.name === name);
  if (wanted.length === 0)
    throw invalid(
      'tool_choice',
      name === null ? 'there are no tools' : `there is no tool "${name}"`,
      'Give it',
    );
  const called: Grammar = {
    kind: 'tool-calls',
    tools: wanted.map(({ function: { name, parameters } }) => ({ name, parameters })),
    ...TOOL_CALL_TAGS,
    // A function that was named is called once.
    single: single || name !== null,
  };
  return { tools, called, single: called.single };
}

function readResponseFormat(format: unknown): Grammar | undefined {
  if (isAbsent(format)) return undefined;
  const type = isFields(format) ? format.type : undefined;
  if (type === 'text') return undefined;
  if (type === 'json_object') return { kind: 'json-object' };
  if (type !== 'json_schema')
    throw invalid(
      'response_format.type',
      `"${String(type)}" is not supported`,
      'Use one of: text, json_object, json_schema',
    );
  const { json_schema: named } = format as Fields;
  if (!isFields(named) || typeof named.name !== 'string')
    throw invalid('response_format.json_schema', 'it has no name', 'Give a name and a schema');
  const { schema } = named;
  if (!isFields(schema))
    throw invalid('response_format.json_schema.schema', 'it is not an object', 'Give a JSON schema');
  readFlag(named, 'strict', 'response_format.json_schema.strict');
  return { kind: 'json-schema', schema };
}
