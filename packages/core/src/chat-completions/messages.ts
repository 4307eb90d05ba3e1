// Messages and tools of chat requests, checked and in the form that chat templates take.
import type { ChatMessage, TemplateTool, TemplateToolCall } from '../chat-template.ts';
import { type Fields, invalid, isAbsent, isFields, readFlag } from './fields.ts';

/** Roles and the names that templates have for them. */
const ROLES = new Map<unknown, string>([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
  ['tool', 'tool'],
]);
/** As in OpenAI's API. */
const MOST_TOOLS = 128;
/** Fields of a message beside role and content, and the roles that have them. */
const EXTRAS = new Map<string, readonly string[]>([
  // OpenAI's API has none for a tool's message; older examples and LangChain send the function's.
  ['name', ['system', 'user', 'assistant', 'tool']],
  ['tool_calls', ['assistant']],
  ['tool_call_id', ['tool']],
]);

/** @throws DuobitError `CHAT_REQUEST` */
export function readMessages(messages: unknown): ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw invalid('messages', 'there are none', 'Give at least one message');
  return messages.map((message: unknown, index) => readMessage(message, `messages[${index}]`));
}

function readMessage(message: unknown, where: string): ChatMessage {
  if (!isFields(message)) throw invalid(where, 'it is not an object', 'Give a role and a content');
  const role = ROLES.get(message.role);
  if (role === undefined)
    throw invalid(
      `${where}.role`,
      `"${String(message.role)}" is not supported`,
      `Use one of: ${[...ROLES.keys()].join(', ')}`,
    );
  for (const [name, value] of Object.entries(message)) {
    if (isAbsent(value) || name === 'role' || name === 'content' || EXTRAS.get(name)?.includes(role))
      continue;
    if (!(Array.isArray(value) && value.length === 0))
      throw invalid(`${where}.${name}`, 'it is not supported', 'Leave it out');
  }
  const calls = isAbsent(message.tool_calls) ? [] : readCalls(message.tool_calls, `${where}.tool_calls`);
  const name = readText(message, 'name', where);
  const answered = readText(message, 'tool_call_id', where);
  if (role === 'tool' && answered === undefined)
    throw invalid(`${where}.tool_call_id`, 'there is none', 'Give the id of the call that this answers');
  const content =
    isAbsent(message.content) && calls.length > 0 ? '' : readContent(message.content, `${where}.content`);
  return {
    role,
    content,
    ...(name !== undefined && { name }),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...(answered !== undefined && { tool_call_id: answered }),
  };
}

/** Joins parts of text. */
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

function readCalls(calls: unknown, where: string): TemplateToolCall[] {
  if (!Array.isArray(calls)) throw invalid(where, 'it is not a list', 'Give a list of calls');
  return calls.map((call: unknown, index) => {
    const place = `${where}[${index}]`;
    const called = readFunction(call, place);
    const id = readText(call as Fields, 'id', place);
    let values: unknown;
    try {
      values = JSON.parse(String(called.arguments));
    } catch {
      // Refused below, as what is no object is.
    }
    if (!isFields(values))
      throw invalid(`${place}.function.arguments`, 'they are not JSON text of an object', 'Correct them');
    return {
      type: 'function',
      ...(id !== undefined && { id }),
      function: { name: called.name, arguments: values },
    };
  });
}

/** @throws DuobitError `CHAT_REQUEST` */
export function readTools(tools: unknown): TemplateTool[] {
  if (isAbsent(tools)) return [];
  if (!Array.isArray(tools)) throw invalid('tools', 'it is not a list', 'Give a list of functions');
  if (tools.length > MOST_TOOLS)
    throw invalid('tools', `there are ${tools.length}`, `Give at most ${MOST_TOOLS}`);
  const names = new Set<string>();
  return tools.map((tool: unknown, index) => {
    const where = `tools[${index}]`;
    const { name, ...fields } = readFunction(tool, where);
    if (names.has(name)) throw invalid(`${where}.function.name`, `"${name}" is there twice`, 'Rename one');
    names.add(name);
    readFlag(fields, 'strict', `${where}.function.strict`);
    const parameters = fields.parameters ?? { type: 'object', properties: {} };
    if (!isFields(parameters))
      throw invalid(`${where}.function.parameters`, 'it is not an object', 'Give a JSON schema');
    const description = readText(fields, 'description', `${where}.function`) ?? '';
    return { type: 'function', function: { name, description, parameters } };
  });
}

/** `function` of a tool, of a call or of a choice. */
export function readFunction(value: unknown, where: string): Fields & { readonly name: string } {
  if (!isFields(value) || value.type !== 'function')
    throw invalid(where, 'it is not of type "function"', 'Give a function; others are not supported');
  const { function: named } = value;
  if (!isFields(named) || typeof named.name !== 'string' || named.name === '')
    throw invalid(`${where}.function`, 'it has no name', 'Give its name');
  return named as Fields & { readonly name: string };
}

function readText(fields: Fields, name: string, where: string): string | undefined {
  const value = fields[name];
  if (isAbsent(value)) return undefined;
  if (typeof value !== 'string') throw invalid(`${where}.${name}`, 'it is not a text', 'Give a text');
  return value;
}
