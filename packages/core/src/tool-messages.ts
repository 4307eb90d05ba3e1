// Tools for chat templates that know nothing of them: described in the system message, called and answered between tags, as Hermes and
// Qwen models do it (github.com/NousResearch/Hermes-Function-Calling).
import type { ChatMessage, TemplateTool } from './chat-template.ts';

/** What a call stands between in an answer. */
export const TOOL_CALL_TAGS = { begin: '<tool_call>\n', end: '\n</tool_call>' } as const;

/**
 * Messages that say with system, user and assistant alone what they say with tools: those that may be called are in the system message,
 * calls in the assistant's text, and what they gave in messages of the user.
 */
export function writeToolsOut(
  messages: readonly ChatMessage[],
  tools: readonly TemplateTool[],
): readonly ChatMessage[] {
  const written: ChatMessage[] = [];
  let isAnswer = false;
  for (const { role, content, tool_calls: calls = [] } of messages) {
    if (role === 'tool') {
      const answer = `<tool_response>\n${content}\n</tool_response>`;
      // What several calls gave is one message: templates want the roles to alternate.
      const last = isAnswer ? written.pop() : undefined;
      written.push({ role: 'user', content: last ? `${last.content}\n${answer}` : answer });
    } else if (calls.length > 0) {
      const texts = calls.map(
        ({ function: { name, arguments: values } }) =>
          TOOL_CALL_TAGS.begin + JSON.stringify({ name, arguments: values }) + TOOL_CALL_TAGS.end,
      );
      written.push({ role, content: [content, ...texts].filter((text) => text !== '').join('\n') });
    } else written.push({ role, content });
    isAnswer = role === 'tool';
  }
  if (tools.length === 0) return written;
  const [first, ...others] = written;
  const told = describeTools(tools);
  return first?.role === 'system'
    ? [{ role: 'system', content: `${first.content}\n\n${told}` }, ...others]
    : [{ role: 'system', content: told }, ...written];
}

function describeTools(tools: readonly TemplateTool[]): string {
  return [
    'You may call the functions below to help with what the user asks. Their signatures:',
    '<tools>',
    ...tools.map((tool) => JSON.stringify(tool)),
    '</tools>',
    'To call one, answer with its name and arguments as a JSON object between tags, once for each call:',
    `${TOOL_CALL_TAGS.begin}{"name": <function-name>, "arguments": <arguments-object>}${TOOL_CALL_TAGS.end}`,
    'What it gives follows between <tool_response> tags.',
  ].join('\n');
}
