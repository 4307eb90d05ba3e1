// Calls in answers, however they are written and however the text is cut.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ToolCallReader } from './tool-calls.ts';

/** Reads a text in pieces; ids differ each time. */
function read(
  text: string,
  pieces: readonly number[] = [text.length],
  most = Number.POSITIVE_INFINITY,
  isCut = false,
) {
  const reader = new ToolCallReader(['add', 'now'], most);
  const found = { content: '', calls: [] as string[], ids: [] as string[] };
  const take = ({ content, calls }: ReturnType<ToolCallReader['push']>): void => {
    found.content += content;
    for (const { id, function: called } of calls) {
      found.calls.push(`${called.name}(${called.arguments})`);
      found.ids.push(id);
    }
  };
  let rest = text;
  for (let i = 0; rest !== ''; i++) {
    const length = Math.max(1, pieces[i % pieces.length]!);
    take(reader.push(rest.slice(0, length)));
    rest = rest.slice(length);
  }
  take(reader.flush(isCut));
  return found;
}

const ADD = '{"name": "add", "arguments": {"a": 1}}';
const CASES: readonly [text: string, content: string, calls: readonly string[]][] = [
  ['Just text.', 'Just text.', []],
  [' \n', ' \n', []],
  ['  text', '  text', []],
  [`<tool_call>\n${ADD}\n</tool_call>`, '', ['add({"a":1})']],
  [`Let me see. <tool_call>${ADD}</tool_call>`, 'Let me see. ', ['add({"a":1})']],
  [`<tool_call>${ADD}</tool_call>\n<tool_call>{"name":"now"}</tool_call>\n`, '', ['add({"a":1})', 'now({})']],
  [`\n<tool_call>${ADD}</tool_call> And more.`, 'And more.', ['add({"a":1})']],
  [`<tool_call>[${ADD}, ${ADD}]</tool_call>`, '', ['add({"a":1})', 'add({"a":1})']],
  [`<tool_call>${ADD}`, '', ['add({"a":1})']],
  ['<tool_call>{"name": "add", "argu', '<tool_call>{"name": "add", "argu', []],
  ['<tool_call>{"name": "other"}</tool_call>.', '<tool_call>{"name": "other"}</tool_call>.', []],
  // What is no object could not go back into the conversation.
  ['{"name": "add", "arguments": [1]}', '{"name": "add", "arguments": [1]}', []],
  ['{"name": "add", "arguments": "one"}', '{"name": "add", "arguments": "one"}', []],
  ['a < b <tool_', 'a < b <tool_', []],
  ['{"name": "add", "parameters": {"a": 2}}', '', ['add({"a":2})']],
  [' {"name": "add", "arguments": "{\\"a\\": 3}"}', '', ['add({"a": 3})']],
  [`[TOOL_CALLS] [${ADD}]`, '', ['add({"a":1})']],
  [`[${ADD}]`, '', ['add({"a":1})']],
  [`<|python_tag|>${ADD}`, '', ['add({"a":1})']],
  ['{"name": "Ada", "age": 5}', '{"name": "Ada", "age": 5}', []],
  ['{"age": 5}', '{"age": 5}', []],
  ['[1, 2]', '[1, 2]', []],
  ['{', '{', []],
];

/** What is left of texts that a limit cut off. */
const CUT: typeof CASES = [
  ['Just text.', 'Just text.', []],
  ['<tool_call>\n', '', []],
  ['<tool_call>{"name": "add", "argu', '', []],
  [`<tool_call>\n${ADD}\n</tool_call>\n<tool_call>\n{"name": "now", "arguments"`, '', ['add({"a":1})']],
  [`<tool_call>${ADD}</tool_call><tool`, '', ['add({"a":1})']],
  [`Let me see. <tool_call>${ADD}</tool`, 'Let me see. ', []],
  [`<tool_call>${ADD}`, '', ['add({"a":1})']],
  ['<tool_call>{"name": "other"}</tool_call> and', '<tool_call>{"name": "other"}</tool_call> and', []],
  [`[TOOL_CALLS] [${ADD}, {"na`, '', []],
  // Without a mark, the name of a tool tells a call from an answer in JSON.
  ['{"name": "add", "parameters": {"a', '', []],
  ['{"name": "Ada", "ag', '{"name": "Ada", "ag', []],
  ['{"na', '{"na', []],
];

describe('calls in answers', () => {
  it('are found, and all else is text', () => {
    for (const [text, content, calls] of CASES) expect(read(text), text).toMatchObject({ content, calls });
  });

  it('are no text when a limit cuts them off', () => {
    for (const [text, content, calls] of CUT)
      expect(read(text, [text.length], 9, true), text).toMatchObject({ content, calls });
  });

  it('do not depend on how the text is cut', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.tuple(fc.constantFrom(...CASES), fc.constant(false)),
          fc.tuple(fc.constantFrom(...CUT), fc.constant(true)),
        ),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }),
        ([[text, content, calls], isCut], pieces) => {
          expect(read(text, pieces, 9, isCut)).toMatchObject({ content, calls });
        },
      ),
      { numRuns: 800 },
    );
  });

  it('come as soon as they are complete, and text that cannot begin one at once', () => {
    const reader = new ToolCallReader(['add'], 9);
    expect(reader.push('Well, <to').content).toBe('Well, ');
    expect(reader.push('ol_call>').content).toBe('');
    expect(reader.push(`${ADD}</tool_call>`).calls).toHaveLength(1);
    expect(reader.flush(false)).toEqual({ content: '', calls: [] });
    expect(new ToolCallReader(['add'], 9).push('{"age"').content).toBe('{"age"');
  });

  it('have ids of their own, and are at most so many', () => {
    const text = `<tool_call>${ADD}</tool_call><tool_call>${ADD}</tool_call>`;
    const { ids } = read(text);
    expect(new Set(ids).size).toBe(2);
    expect(ids[0]).toMatch(/^call_[0-9a-f]{24}$/);
    expect(read(text, [3], 1).calls).toHaveLength(1);
  });
});
