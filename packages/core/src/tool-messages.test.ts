// Tools in prompts: through templates that know them, and in the system message for those that do not.
import { describe, expect, it } from 'vitest';
import { type ChatMessage, compileChatTemplate, type TemplateTool } from './chat-template.ts';
import { writeToolsOut } from './tool-messages.ts';

const tool: TemplateTool = {
  type: 'function',
  function: { name: 'add', description: 'Adds', parameters: { type: 'object', properties: {} } },
};
const call = { id: 'call_1', type: 'function', function: { name: 'add', arguments: { a: 1 } } } as const;
const messages: ChatMessage[] = [
  { role: 'user', content: 'One and two?' },
  { role: 'assistant', content: '', tool_calls: [call, call] },
  { role: 'tool', content: '3', tool_call_id: 'call_1' },
  { role: 'tool', content: '4', tool_call_id: 'call_1' },
];

describe('tools in prompts', () => {
  it('go through templates that know them as they are', () => {
    const render = compileChatTemplate(
      '{% if tools %}{% for t in tools %}{{ t.function.name }}:{{ t.function | tojson }};{% endfor %}{% endif %}' +
        '{% for m in messages %}{{ m.role }}[{{ m.content }}]{% if m.tool_calls %}{% for c in m.tool_calls %}' +
        '{{ c.function.name }}({{ c.function.arguments.a }}){% endfor %}{% endif %}' +
        '{% if m.tool_call_id %}#{{ m.tool_call_id }}{% endif %}{% endfor %}',
      {},
      'test',
    );
    const text = render(messages, { tools: [tool] });
    expect(text).toContain('add:{"name": "add", "description": "Adds"');
    expect(text).toContain('user[One and two?]assistant[]add(1)add(1)tool[3]#call_1tool[4]#call_1');
    expect(render([{ role: 'user', content: 'x' }])).toBe('user[x]');
  });

  it('are written out for templates that do not', () => {
    const render = compileChatTemplate(
      '{% for m in messages %}{{ m.role }}[{{ m.content }}]{% endfor %}',
      {},
      'test',
    );
    const called = '<tool_call>\n{"name":"add","arguments":{"a":1}}\n</tool_call>';
    const answers = '<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</tool_response>';
    expect(render(messages)).toBe(`user[One and two?]assistant[${called}\n${called}]user[${answers}]`);
    const told = writeToolsOut([{ role: 'system', content: 'Be brief.' }, ...messages], [tool]);
    expect(told[0]!.content).toMatch(/^Be brief\.\n\nYou may call/);
    expect(told[0]!.content).toContain(`<tools>\n${JSON.stringify(tool)}\n</tools>`);
    expect(told.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    expect(writeToolsOut(messages, [tool])[0]!.role).toBe('system');
    const plain = [{ role: 'user', content: 'x' }];
    expect(writeToolsOut(plain, [])).toEqual(plain);
  });

  it('are refused where they have too many levels to be written', () => {
    let parameters: Record<string, unknown> = {};
    for (let i = 0; i < 100_000; i++) parameters = { items: parameters };
    const deep = { ...tool, function: { ...tool.function, parameters } };
    for (const template of ['{{ messages[0].content }}', '{{ tools | tojson }}'])
      expect(() => compileChatTemplate(template, {}, 'test')(messages, { tools: [deep] })).toThrow(
        expect.objectContaining({ code: 'CHAT_TEMPLATE_FAILED' }),
      );
  });
});
