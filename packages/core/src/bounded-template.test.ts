// Templates of strangers: what must end in an error, and that it does not bound what models really ask for.
import { Template } from '@huggingface/jinja';
import { describe, expect, it } from 'vitest';
import { compileTemplate } from './bounded-template.ts';
import { compileChatTemplate } from './chat-template.ts';

const MESSAGES = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: ' Hi ' },
];

describe('compileTemplate', () => {
  it.each([
    ['a loop', '{% for i in range(100000) %}{% for j in range(1000) %}x{% endfor %}{% endfor %}', 'steps'],
    [
      'an empty loop',
      '{% set r = range(99999) %}{% for i in r %}{% for j in r if j < 0 %}{% endfor %}{% endfor %}',
      'steps',
    ],
    ['a range', '{{ range(1000000000) | length }}', 'range'],
    ['a range by fractions', '{{ range(0, 1, 0.0000000001) | length }}', 'range'],
    [
      'a list that doubles',
      '{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x | length }}',
      'items',
    ],
    [
      'a text that is copied',
      '{% set n = namespace(x="ab") %}{% for i in range(20) %}{% set n.x = n.x ~ n.x %}{% endfor %}' +
        '{% for i in range(90000) %}{% set m = n.x | upper %}{% endfor %}',
      'steps',
    ],
  ])('ends %s with an error', (_what, text, message) => {
    expect(() => compileTemplate(text)({})).toThrow(message);
  });

  it('reports it as a template that failed', () => {
    const render = compileChatTemplate('{{ range(1000000000) }}', {}, 'model.duo');
    expect(() => render(MESSAGES)).toThrow(expect.objectContaining({ code: 'CHAT_TEMPLATE_FAILED' }));
  });

  it.each([
    '{% for m in messages %}\n{{ m.role }}: {{ m["content"] | trim }}\n{% endfor %}',
    '{{ true }} {{ False }} {{ none is none }} {{ None is none }} {{ missing is defined }}',
    '{{ range(3) | join }} {{ range(2, 9, 3) | join }} {{ range(3, 0, -1) | join }} {{ range(4, 2) | join }}',
    '{{ strftime_now("%Y %b %%") }}',
    '  {%- if messages[0].role == "system" %}a{% endif %}  \n   {% if true %}\nb{% endif %}\n',
    '{% macro f(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ f(1) }}{{ f(1, y=3) }}',
  ])("renders %j as the library's own template does", (text) => {
    expect(compileTemplate(text)({ messages: MESSAGES })).toBe(
      new Template(text).render({ messages: MESSAGES }),
    );
  });

  it('passes on what a template says when it refuses', () => {
    expect(() => compileTemplate('{{ raise_exception("roles must alternate") }}')({})).toThrow(
      'roles must alternate',
    );
  });

  it('has room for a conversation of 2,000 turns and a megabyte, by a template that looks at all turns in each', () => {
    const messages = Array.from({ length: 2000 }, (_, i) => ({
      role: i % 2 === 0 ? 'user' : 'assistant',
      content: `${i} ${'word '.repeat(100)}`,
    }));
    const text =
      '{% for m in messages %}{% if messages[::-1][0] == m %}<last>{% endif %}' +
      '{{ "<|" ~ m.role ~ "|>" ~ (m.content | trim) ~ "\\n" }}{% endfor %}';
    const prompt = compileTemplate(text)({ messages });
    expect(prompt.match(/<\|/g)).toHaveLength(2000);
    expect(prompt.match(/<last>/g)).toHaveLength(1);
  });
});
