// Answers with more to them than one text: several choices, log-probabilities, tools, and grammars.
import { describe, expect, it, vi } from 'vitest';
import { errorOf, type Play, playModel, takeAll } from '../testing/played-model.ts';
import type { Grammar, Grammars } from '../token-constraint.ts';
import { type CompletionOptions, mergeChoices } from './answers.ts';
import { createChatCompletions } from './chat-completions.ts';
import { createCompletions } from './completions.ts';
import type { ChatCompletionRequest } from './types.ts';

const USER = [{ role: 'user', content: 'Hi' }] as const;
const TOOL = { type: 'function', function: { name: 'add', parameters: { type: 'object' } } } as const;
const CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>';
const NEVER: Grammars = {
  createConstraint: () => Promise.reject(new Error('a played model has no grammar')),
};

function play(options: Play = {}, more: CompletionOptions = {}) {
  const played = playModel(options);
  return { ...played, ...createChatCompletions(played.model, more) };
}

describe('several choices', () => {
  it('have seeds one after another, and one usage', async () => {
    const { completions, calls, state } = play({ sequences: 2 });
    const answer = await completions.create({ messages: USER, n: 3, seed: 7 });
    expect(answer.choices.map(({ index, message }) => [index, message.content])).toEqual(
      [0, 1, 2].map((index) => [index, 'One two three.']),
    );
    expect(calls.map(({ options }) => options.seed)).toEqual([7, 8, 9]);
    expect(answer.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 9, total_tokens: 14 });
    expect(state).toEqual({ running: 0, mostRunning: 2 });
  });

  it('are streamed side by side, each whole, and end when they are left', async () => {
    const { completions, state } = play({ sequences: 2 });
    const request = { messages: USER, n: 3, stream: true, stream_options: { include_usage: true } } as const;
    const chunks = await takeAll(completions.create(request));
    const texts = ['', '', ''];
    const reasons: unknown[] = [];
    for (const { index, delta, finish_reason } of chunks.flatMap(({ choices }) => choices)) {
      texts[index] += delta.content ?? '';
      if (finish_reason) reasons.push(finish_reason);
    }
    expect(texts).toEqual(Array(3).fill('One two three.'));
    expect(reasons).toEqual(['stop', 'stop', 'stop']);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 9 } });
    for await (const _ of await completions.create(request)) break;
    expect(state.running).toBe(0);
    expect((await completions.create({ messages: USER })).choices).toHaveLength(1);
  });

  it('are listened to once while they wait, and need no signal with many listeners', async () => {
    const never: Promise<IteratorResult<string, void>> = new Promise(() => {});
    const listened = vi.spyOn(never, 'then');
    const left = { done: true, value: undefined } as const;
    const signals = new Set<AbortSignal | undefined>();
    const words = mergeChoices(2, undefined, (index, signal) => {
      signals.add(signal);
      const rest = Array<string>(100).fill('a')[Symbol.iterator]();
      const next = () => (index === 1 ? never : Promise.resolve(rest.next() as IteratorResult<string, void>));
      return { next, return: () => Promise.resolve(left) } as AsyncGenerator<string, void, undefined>;
    });
    for (let i = 0; i < 100; i++) expect(await words.next()).toEqual({ done: false, value: 'a' });
    await words.return();
    expect(listened).toHaveBeenCalledTimes(1);
    expect(signals.size).toBe(2);
    expect([...signals].every((signal) => signal?.aborted)).toBe(true);
  });

  it('are refused where there are more than can ever wait', async () => {
    const { completions, model, calls } = play({ sequences: 2 }, { mostWaiting: 2 });
    expect(await errorOf(completions.create({ messages: USER, n: 5 }))).toMatchObject({
      code: 'CHAT_REQUEST',
      where: 'n',
    });
    const texts = createCompletions(model, { mostWaiting: 2 });
    expect(await errorOf(texts.create({ prompt: Array(5).fill('x'), stream: true }))).toMatchObject({
      code: 'CHAT_REQUEST',
      where: 'prompt',
    });
    expect(calls).toEqual([]);
    expect((await completions.create({ messages: USER, n: 4 })).choices).toHaveLength(4);
  });

  it('end together when the signal comes, or when one fails', async () => {
    const { completions, model, state } = play();
    const controller = new AbortController();
    const whole = errorOf(completions.create({ messages: USER, n: 2 }, controller));
    const stream = takeAll(completions.create({ messages: USER, n: 2, stream: true }, controller));
    await new Promise((resolve) => setTimeout(resolve, 2));
    controller.abort();
    expect(await whole).toMatchObject({ code: 'ABORTED' });
    expect((await stream).every(({ choices }) => choices[0]!.finish_reason === null)).toBe(true);
    let count = 0;
    const failing = createChatCompletions({
      ...model,
      sequences: 2,
      generate: (prompt, options) => {
        if (++count === 2) throw new Error('broken');
        return model.generate(prompt, options);
      },
    });
    expect(await errorOf(failing.completions.create({ messages: USER, n: 3 }))).toMatchObject({
      message: 'broken',
    });
    expect(state.running).toBe(0);
  });
});

describe('log-probabilities', () => {
  it('have the shape of the API, whole and in chunks', async () => {
    const { completions, calls } = play({ words: ['One', ' 😀'] });
    const request = { messages: USER, logprobs: true, top_logprobs: 2 } as const;
    const { logprobs } = (await completions.create(request)).choices[0]!;
    const bytes = [0x20, 0xf0, 0x9f, 0x98, 0x80];
    expect(logprobs!.refusal).toBeNull();
    expect(logprobs!.content[1]).toEqual({
      ...{ token: ' 😀', bytes, logprob: -2 },
      top_logprobs: [
        { token: ' 😀', bytes, logprob: -2 },
        { token: ' 😀', bytes, logprob: -3 },
      ],
    });
    const chunks = await takeAll(completions.create({ ...request, stream: true }));
    expect(chunks.flatMap(({ choices }) => choices[0]!.logprobs?.content ?? [])).toEqual(logprobs!.content);
    const plain = await completions.create({ messages: USER, logprobs: true });
    expect(plain.choices[0]!.logprobs!.content[0]).toEqual({
      ...{ token: 'One', bytes: [0x4f, 0x6e, 0x65], logprob: -1 },
      top_logprobs: [],
    });
    await completions.create({ messages: USER });
    expect(calls.map(({ options }) => options.logprobs)).toEqual([2, 2, 0, undefined]);
  });
});

describe('tools', () => {
  it('go to the chat template, with what was called before and what came of it', async () => {
    const { completions, calls } = play();
    const called = {
      id: 'call_1',
      type: 'function',
      function: { name: 'add', arguments: '{"a": 1}' },
    } as const;
    const messages: ChatCompletionRequest['messages'] = [
      ...USER,
      { role: 'assistant', content: null, tool_calls: [called] },
      { role: 'tool', name: 'add', tool_call_id: 'call_1', content: '2' },
    ];
    await completions.create({ messages, tools: [TOOL] });
    expect(calls[0]!.prompt).toEqual({
      messages: [
        ...USER,
        {
          ...{ role: 'assistant', content: '' },
          tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'add', arguments: { a: 1 } } }],
        },
        { role: 'tool', name: 'add', tool_call_id: 'call_1', content: '2' },
      ],
      tools: [
        { type: 'function', function: { name: 'add', description: '', parameters: { type: 'object' } } },
      ],
    });
    await completions.create({ messages: USER, tools: [TOOL], tool_choice: 'none' });
    expect(calls[1]!.prompt).toEqual(USER);
    const bad = { ...called, function: { name: 'add', arguments: '{"a"' } };
    expect(
      await errorOf(completions.create({ messages: [{ role: 'assistant', tool_calls: [bad] }] })),
    ).toMatchObject({ code: 'CHAT_REQUEST', where: 'messages[0].tool_calls[0].function.arguments' });
    expect(await errorOf(completions.create({ messages: USER, tools: [TOOL, TOOL] }))).toMatchObject({
      where: 'tools[1].function.name',
    });
  });

  it('are called in answers, whole and in chunks', async () => {
    const words = ['I add. ', ...CALL.split(/(?<=.{5})/s), '\n', CALL];
    const { completions } = play({ words, ending: '' });
    const request = { messages: USER, tools: [TOOL] };
    const { message, finish_reason } = (await completions.create(request)).choices[0]!;
    expect(message).toEqual({
      ...{ role: 'assistant', content: 'I add. ', refusal: null },
      tool_calls: [1, 2].map(() => ({
        ...{ id: expect.stringMatching(/^call_/), type: 'function' },
        function: { name: 'add', arguments: '{"a":1}' },
      })),
    });
    expect(finish_reason).toBe('tool_calls');
    const deltas = (await takeAll(completions.create({ ...request, stream: true }))).map(
      ({ choices }) => choices[0]!,
    );
    expect(deltas.map(({ delta }) => delta.content ?? '').join('')).toBe('I add. ');
    const calls = deltas.flatMap(({ delta }) => delta.tool_calls ?? []);
    expect(calls.map(({ index }) => index)).toEqual([0, 1]);
    expect(new Set(calls.map(({ id }) => id)).size).toBe(2);
    expect(deltas.at(-1)).toMatchObject({ delta: {}, finish_reason: 'tool_calls' });
    const single = await completions.create({ ...request, parallel_tool_calls: false });
    expect(single.choices[0]!.message.tool_calls).toHaveLength(1);
    // Without tools such text is text.
    const plain = await completions.create({ messages: USER });
    expect(plain.choices[0]!.message).toEqual({ role: 'assistant', content: words.join(''), refusal: null });
  });

  it('that a limit cuts off are left out, and the reason is told', async () => {
    const request = { messages: USER, tools: [TOOL] };
    for (const [reason, finish_reason, rest] of [
      ['length', 'length', ''],
      ['context', 'length', ''],
      ['eos', 'tool_calls', '<tool_call>\n{"name": "add", "arg'],
    ] as const) {
      const words = [CALL, '\n<tool_call>', '\n{"name": "add", "arg'];
      const { completions } = play({ words, ending: '', reason });
      const [choice] = (await completions.create(request)).choices;
      expect(choice).toMatchObject({ finish_reason, message: { content: rest || null } });
      expect(choice!.message.tool_calls).toHaveLength(1);
      const deltas = (await takeAll(completions.create({ ...request, stream: true }))).map(
        ({ choices }) => choices[0]!,
      );
      expect(deltas.map(({ delta }) => delta.content ?? '').join('')).toBe(rest);
      expect(deltas.flatMap(({ delta }) => delta.tool_calls ?? [])).toHaveLength(1);
      expect(deltas.at(-1)).toMatchObject({ finish_reason });
    }
  });

  it('hold the answer to a call where one is asked for', async () => {
    const { completions, calls } = play({}, { grammars: NEVER });
    const other = { type: 'function', function: { name: 'now' } } as const;
    const request = { messages: USER, tools: [TOOL, other] };
    const grammarOf = async (more: Partial<ChatCompletionRequest>): Promise<Grammar | undefined> => {
      await completions.create({ ...request, ...more });
      expect(calls.at(-1)!.prompt).toMatchObject({ tools: [TOOL, other] });
      return calls.at(-1)!.options.grammar;
    };
    const none = { type: 'object', properties: {} };
    const tags = { kind: 'tool-calls', begin: '<tool_call>\n', end: '\n</tool_call>' };
    expect(await grammarOf({ tool_choice: 'auto' })).toBeUndefined();
    expect(await grammarOf({ tool_choice: 'required' })).toEqual({
      ...{ ...tags, single: false },
      tools: [
        { name: 'add', parameters: { type: 'object' } },
        { name: 'now', parameters: none },
      ],
    });
    expect(await grammarOf({ tool_choice: 'required', parallel_tool_calls: false })).toMatchObject({
      single: true,
    });
    expect(await grammarOf({ tool_choice: { type: 'function', function: { name: 'now' } } })).toEqual({
      ...{ ...tags, single: true },
      tools: [{ name: 'now', parameters: none }],
    });
    expect(calls.at(-1)!.options.grammars).toBe(NEVER);
    expect(calls[0]!.options.grammars).toBeUndefined();
    const missing = { type: 'function', function: { name: 'other' } } as const;
    expect(await errorOf(completions.create({ ...request, tool_choice: missing }))).toMatchObject({
      code: 'CHAT_REQUEST',
      where: 'tool_choice',
    });
    expect(await errorOf(play().completions.create({ ...request, tool_choice: 'required' }))).toMatchObject({
      code: 'CHAT_REQUEST',
      where: 'tool_choice',
    });
    const response_format = { type: 'json_object' } as const;
    expect(await errorOf(completions.create({ ...request, response_format }))).toMatchObject({
      where: 'response_format',
    });
  });
});
