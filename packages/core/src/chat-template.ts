// Chat templates: the Jinja text a model carries turns messages into the prompt it was trained on.
import { DuobitError } from '@duobit/format';
import { Template } from '@huggingface/jinja';

/** A turn of a conversation. */
export interface ChatMessage {
  /** 'system', 'user', 'assistant', or what the model's template knows. */
  readonly role: string;
  readonly content: string;
}

/** Options of rendering a conversation. */
export interface ChatTemplateOptions {
  /** Ends the prompt where the assistant's answer begins. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
}

export type RenderChat = (messages: readonly ChatMessage[], options?: ChatTemplateOptions) => string;

/**
 * Compiles a chat template.
 * @param tokens texts of special tokens by the names templates use: `bos_token`, `eos_token` …
 * @throws DuobitError `CHAT_TEMPLATE_INVALID` when the text is not a template this can run; the returned function
 * throws `CHAT_TEMPLATE_FAILED` when the template refuses the messages (`raise_exception`) or fails on them.
 */
export function compileChatTemplate(
  text: string,
  tokens: Readonly<Record<string, string>>,
  source: string,
): RenderChat {
  let template: Template;
  try {
    template = new Template(text);
  } catch (cause) {
    throw new DuobitError(
      'CHAT_TEMPLATE_INVALID',
      `the chat template cannot be parsed: ${messageOf(cause)}`,
      {
        source,
        where: 'chat template',
        remedy: 'Prompt the model with plain text, or use a model with a working template',
        cause,
      },
    );
  }
  return (messages, options = {}) => {
    try {
      return template.render({
        ...tokens,
        messages: messages.map(({ role, content }) => ({ role, content })),
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

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
