// Readers of task files: the prompts they make, and what they say of bad lines.
import { describe, expect, it } from 'vitest';
import { parseTask, type TaskName } from './tasks.ts';

describe('parseTask', () => {
  it('shows PIQA and ARC a question and "Answer:"', () => {
    const line = JSON.stringify({ query: 'Question: Why?\n', choices: ['one', 'two ½'], gold: 1 });
    for (const name of ['piqa', 'arc_easy'] as const)
      expect(parseTask(name, `\n${line}\n`, 'x.jsonl')).toEqual([
        {
          choices: [
            { context: 'Question: Why?\nAnswer:', continuation: ' one' },
            { context: 'Question: Why?\nAnswer:', continuation: ' two ½' },
          ],
          gold: 1,
          lengths: [3, 5],
        },
      ]);
  });

  it('goes on from the stem in OpenBookQA, and counts code points', () => {
    const line = JSON.stringify({ query: 'A bat can', choices: ['fly', '🦇🦇'], gold: 0 });
    expect(parseTask('openbookqa', line, 'x.jsonl')).toEqual([
      {
        choices: [
          { context: 'A bat can', continuation: ' fly' },
          { context: 'A bat can', continuation: ' 🦇🦇' },
        ],
        gold: 0,
        lengths: [3, 2],
      },
    ]);
  });

  it('gives WinoGrande one continuation after two contexts', () => {
    const line = JSON.stringify({
      context_options: ['Ann saw Bea; Ann', 'Ann saw Bea; Bea'],
      continuation: 'waved.',
      gold: 0,
    });
    expect(parseTask('winogrande', line, 'x.jsonl')).toEqual([
      {
        choices: [
          { context: 'Ann saw Bea; Ann', continuation: ' waved.' },
          { context: 'Ann saw Bea; Bea', continuation: ' waved.' },
        ],
        gold: 0,
        lengths: null,
      },
    ]);
  });

  it('takes six lines a question for HellaSwag, whatever ends them', () => {
    const text = 'Run: He\r\n3\r\na\r\nb\r\nc\r\ndd\r\n';
    const [question] = parseTask('hellaswag', text, 'x.txt');
    expect(question).toMatchObject({ gold: 3, lengths: [1, 1, 1, 2] });
    expect(question!.choices[3]).toEqual({ context: 'Run: He', continuation: ' dd' });
  });

  const good = '{"query":"q","choices":["a","b"],"gold":0}';
  const cases: [TaskName, string, number, string][] = [
    ['piqa', '', 1, 'no question'],
    ['piqa', `${good}\n{"query":`, 2, 'not JSON'],
    ['piqa', `${good}\n\n[1]`, 3, 'not a JSON object'],
    ['piqa', '{"choices":["a","b"],"gold":0}', 1, '"query"'],
    ['piqa', '{"query":"q","choices":["a"],"gold":0}', 1, '"choices"'],
    ['piqa', '{"query":"q","choices":["a"," "],"gold":0}', 1, '"choices"'],
    ['piqa', '{"query":"q","choices":["a","b"],"gold":2}', 1, 'is 2, not 0 to 1'],
    ['piqa', '{"query":"q","choices":["a","b"]}', 1, 'is missing'],
    ['winogrande', good, 1, '"context_options"'],
    ['hellaswag', 'c\n0\na\nb\nc\nd\nc\n1\na', 7, 'only 3 of'],
    ['hellaswag', 'c\n0\na\n\nc\nd', 4, 'empty'],
    ['hellaswag', 'c\nx\na\nb\nc\nd', 2, 'is "x"'],
    ['hellaswag', 'c\n4\na\nb\nc\nd', 2, 'is 4'],
  ];
  it.each(cases)('%s: refuses %j in line %d', (name, text, line, says) => {
    expect(() => parseTask(name, text, 'x.jsonl')).toThrow(
      expect.objectContaining({
        code: 'EVALUATION_DATA',
        source: 'x.jsonl',
        where: `line ${line}`,
        message: expect.stringContaining(says),
      }),
    );
  });
});
