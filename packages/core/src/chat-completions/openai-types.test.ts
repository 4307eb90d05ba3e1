// Requests and answers against the types of OpenAI's own client: what is written for one fits the other.
import type OpenAI from 'openai';
import { expectTypeOf, it } from 'vitest';
import type { Completion, CompletionRequest } from './completion-types.ts';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  ChatRequestMessage,
  ChatTool,
} from './types.ts';

/** Its types are of what may be changed. */
type Mutable<T> = { -readonly [K in keyof T]: T[K] extends object | null | undefined ? Mutable<T[K]> : T[K] };
type Chat = OpenAI.Chat.Completions.ChatCompletionCreateParams;
/** Fields whose types there have members that are refused here: parts that are no text, tools that are no functions. */
type Wider = 'messages' | 'tools' | 'tool_choice';

it('fit the types of the official client', () => {
  expectTypeOf<Mutable<ChatCompletion>>().toExtend<OpenAI.Chat.Completions.ChatCompletion>();
  expectTypeOf<Mutable<ChatCompletionChunk>>().toExtend<OpenAI.Chat.Completions.ChatCompletionChunk>();
  expectTypeOf<Omit<Chat, Wider>>().toExtend<Omit<ChatCompletionRequest, Wider>>();
  expectTypeOf<OpenAI.Chat.Completions.ChatCompletionSystemMessageParam>().toExtend<ChatRequestMessage>();
  expectTypeOf<OpenAI.Chat.Completions.ChatCompletionDeveloperMessageParam>().toExtend<ChatRequestMessage>();
  expectTypeOf<OpenAI.Chat.Completions.ChatCompletionToolMessageParam>().toExtend<ChatRequestMessage>();
  expectTypeOf<OpenAI.Chat.Completions.ChatCompletionFunctionTool>().toExtend<ChatTool>();
  // An answer goes back into the conversation as it is.
  expectTypeOf<ChatCompletion['choices'][number]['message']>().toExtend<ChatRequestMessage>();
  type Text = OpenAI.Completions.CompletionCreateParams;
  expectTypeOf<Omit<Text, 'prompt'>>().toExtend<Omit<CompletionRequest, 'prompt'>>();
  expectTypeOf<NonNullable<Text['prompt']>>().toExtend<CompletionRequest['prompt']>();
  // There pieces of a stream have no null of their own, which the API gives.
  type Piece = Omit<OpenAI.Completions.Completion, 'choices' | 'usage'>;
  expectTypeOf<Mutable<Completion>>().toExtend<Piece>();
  type Choice = Omit<OpenAI.Completions.CompletionChoice, 'finish_reason'>;
  expectTypeOf<Mutable<Completion['choices'][number]>>().toExtend<Choice>();
});
