// Chat templates: the Jinja text a model carries turns messages into the prompt it was trained on.
import { DuobitError } from '@duobit/format';
import { compileTemplate } from './bounded-template.ts';
import { showValue } from './option-checks.ts';
import { writeToolsOut } from './tool-messages.ts';

/** A turn of a conversation. */
export interface ChatMessage {
  /** 'system', 'user', 'assistant', 'tool', or what the model's template knows. */
  readonly role: string;
  readonly content: string;
  readonly name?: string | undefined;
  /** Calls of tools that an assistant's message makes, beside or instead of its content. */
  readonly tool_calls?: readonly TemplateToolCall[] | undefined;
  /** Which call a tool's message answers. */
  readonly tool_call_id?: string | undefined;
}

/** In the form that templates expect, which is that of Hugging Face transformers: arguments are values and no text. */
export interface TemplateToolCall {
  readonly id?: string | undefined;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
}

/** A function that the model may call, as templates expect it. */
export interface TemplateTool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description: string;
    /** A JSON schema. */
    readonly parameters: Readonly<Record<string, unknown>>;
  };
}

/** Options of rendering a conversation. */
export interface ChatTemplateOptions {
  /** Tools that the model may call. Templates that know nothing of tools are told of them in the system message. */
  readonly tools?: readonly TemplateTool[] | undefined;
  /** Ends the prompt where the assistant's answer begins. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
}

export type RenderChat = (messages: readonly ChatMessage[], options?: ChatTemplateOptions) => string;

/**
 * Compiles a chat template.
 * @param tokens texts of special tokens by the names templates use: `bos_token`, `eos_token` …
 * @throws DuobitError `CHAT_TEMPLATE_INVALID` when the text is not a template this can run; the returned function
 * throws `CHAT_TEMPLATE_FAILED` when the template refuses the messages (`raise_exception`), fails on them, or takes too long.
 */
export function compileChatTemplate(
  text: string,
  tokens: Readonly<Record<string, string>>,
  source: string,
): RenderChat {
  const render = parseTemplate(
    text,
    source,
    'Prompt the model with plain text, or use a model with a working template',
  );
  // Names that only tools have: a template that writes them knows both tools and their answers.
  const knowsTools = /\btools\b/.test(text);
  return (messages, options = {}) => {
    const { tools = [] } = options;
    try {
      const said = knowsTools ? messages : writeToolsOut(messages, tools);
      return render({
        ...tokens,
        messages: said.map((message) => ({ ...message })),
        ...(knowsTools && tools.length > 0 && { tools: [...tools] }),
        add_generation_prompt: options.addGenerationPrompt ?? true,
      });
    } catch (cause) {
      throw new DuobitError(
        'CHAT_TEMPLATE_FAILED',
        `the chat template refused the messages: ${messageOf(cause)}`,
        {
          source,
          where: 'chat template',
          remedy: 'Check the roles and their order against what the model expects',
          cause,
        },
      );
    }
  };
}

/**
 * Checks a template that a caller gives.
 * @throws DuobitError `CHAT_TEMPLATE_INVALID`
 */
export function checkChatTemplate(text: unknown, source: string): void {
  if (typeof text !== 'string' || text === '')
    throw new DuobitError('CHAT_TEMPLATE_INVALID', `the chat template is ${showValue(text)}`, {
      source,
      where: 'chatTemplate',
      remedy: "Give the text of a Jinja template, or leave it out for the model's own",
    });
  parseTemplate(text, source, "Correct it, or leave it out for the model's own");
}

function parseTemplate(text: string, source: string, remedy: string): ReturnType<typeof compileTemplate> {
  try {
    return compileTemplate(text);
  } catch (cause) {
    throw new DuobitError(
      'CHAT_TEMPLATE_INVALID',
      `the chat template cannot be parsed: ${messageOf(cause)}`,
      { source, where: 'chat template', remedy, cause },
    );
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
