// Chat completions over a model that is played, for what requests and answers look like and whose turn it is, and over a tiny one that is
// not.
import { createModel, createReferenceBackend } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { errorOf, type Play, playModel, takeAll } from '../testing/played-model.ts';
import type { ChatModel } from './answers.ts';
import { createChatCompletions } from './chat-completions.ts';
import type { ChatCompletionChunk, ChatCompletionRequest } from './types.ts';

const USAGE = {
  prompt_tokens: 5,
  completion_tokens: 3,
  total_tokens: 8,
  prompt_tokens_details: { cached_tokens: 2 },
};
const USER = [{ role: 'user', content: 'Hi' }] as const;

/** Chat completions of a played model, with little room for those who wait. */
function play(options: Play = {}) {
  const played = playModel(options);
  return { ...played, ...createChatCompletions(played.model, { mostWaiting: 2 }) };
}

const textOf = (chunks: readonly ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
describe('chat completions', () => {
  it('answer whole, in the shape of the API', async () => {
    const { completions, calls } = play();
    const before = Math.floor(Date.now() / 1000);
    const answer = await completions.create({ messages: USER, model: 'whatever' });
    expect(answer).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{24}$/),
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'played',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'One two three.', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: USAGE,
    });
    expect(answer.created - before).toBeLessThan(60);
    expect((await completions.create({ messages: USER })).id).not.toBe(answer.id);
    // The defaults of the API, but for the limit, which is the context, and a seed that is never the same.
    expect(calls[0]).toMatchObject({ prompt: USER, options: { temperature: 1, maxTokens: 64, stop: [] } });
    expect(calls[0]!.options.seed).not.toBe(calls[1]!.options.seed);
  });

  it('answer in chunks: the role, the text, the reason, and the usage where it is asked for', async () => {
    const { completions } = play({ reason: 'length' });
    const chunks = await takeAll(completions.create({ messages: USER, stream: true }));
    const { id, created } = chunks[0]!;
    const chunk = (delta: object, finish_reason: string | null = null) => ({
      ...{ id, object: 'chat.completion.chunk', created, model: 'played' },
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    });
    const expected = [
      chunk({ role: 'assistant', content: '' }),
      ...['One', ' two', ' three', '.'].map((content) => chunk({ content })),
      chunk({}, 'length'),
    ];
    expect(chunks).toEqual(expected);
    const counted = await takeAll(
      completions.create({ messages: USER, stream: true, stream_options: { include_usage: true } }),
    );
    expect(counted.map(({ usage }) => usage)).toEqual([...Array(6).fill(null), USAGE]);
    expect(counted.at(-1)!.choices).toEqual([]);
  });

  it('tell a full context as a length, and a stop text and the end of text as a stop', async () => {
    for (const [reason, told] of [
      ['context', 'length'],
      ['length', 'length'],
      ['stop', 'stop'],
      ['eos', 'stop'],
    ] as const)
      expect((await play({ reason }).completions.create({ messages: USER })).choices[0]!.finish_reason).toBe(
        told,
      );
  });

  it('put requests in the terms of generation', async () => {
    const { completions, calls } = play();
    await completions.create({
      messages: [
        { role: 'developer', content: 'Be brief' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'assistant', content: 'c' },
      ],
      ...{ max_tokens: 7, max_completion_tokens: 9, temperature: 0.5, top_p: 0.9, top_k: 5, min_p: 0.1 },
      ...{
        repetition_penalty: 1.2,
        seed: 4,
        stop: 'END',
        n: 1,
        presence_penalty: 0.5,
        frequency_penalty: -1,
      },
      ...{ logit_bias: { 7: -100 }, logprobs: true, top_logprobs: 3 },
    });
    expect(calls[0]).toEqual({
      prompt: [
        { role: 'system', content: 'Be brief' },
        { role: 'user', content: 'ab' },
        { role: 'assistant', content: 'c' },
      ],
      options: {
        ...{ maxTokens: 9, temperature: 0.5, topP: 0.9, topK: 5, minP: 0.1, repetitionPenalty: 1.2, seed: 4 },
        ...{ stop: ['END'], presencePenalty: 0.5, frequencyPenalty: -1, logitBias: { 7: -100 }, logprobs: 3 },
      },
    });
    await completions.create({
      messages: USER,
      max_tokens: 7,
      stop: ['a', 'b'],
      seed: null,
      temperature: null,
    });
    expect(calls[1]!.options).toMatchObject({ maxTokens: 7, stop: ['a', 'b'], temperature: 1 });
  });

  it('take 64-bit seeds, each of which is always the same one, as are those of its choices', async () => {
    const { completions, calls } = play();
    const seedsOf = async (seed: number, n = 1): Promise<(number | undefined)[]> => {
      calls.length = 0;
      await completions.create({ messages: USER, seed, n });
      return calls.map(({ options }) => options.seed);
    };
    expect(await seedsOf(-5)).toEqual([-5]);
    expect(await seedsOf(2 ** 53 - 200, 2)).toEqual([2 ** 53 - 200, 2 ** 53 - 199]);
    const large = [2 ** 53 - 1, 2 ** 53, 2 ** 60, 2 ** 63, -(2 ** 63)];
    const seeds = [];
    for (const seed of large) {
      const [first, second] = await seedsOf(seed, 2);
      expect(await seedsOf(seed)).toEqual([first]);
      expect(Number.isSafeInteger(first)).toBe(true);
      expect(second).toBe(first! + 1);
      seeds.push(first);
    }
    // 2^63 and -2^63 are the same 64 bits.
    expect(new Set(seeds).size).toBe(large.length - 1);
  });

  it('refuse by field what is malformed or not supported, at once, and ignore what asks for nothing', async () => {
    const { completions, calls } = play();
    const image = { type: 'image_url', image_url: { url: 'data:' } };
    const refused: [Record<string, unknown>, string][] = [
      [{ messages: [] }, 'messages'],
      [{ messages: 'Hi' }, 'messages'],
      [{ messages: [null] }, 'messages[0]'],
      [{ messages: [...USER, { role: 'function', content: 'x' }] }, 'messages[1].role'],
      [{ messages: [...USER, { role: 'tool', content: 'x' }] }, 'messages[1].tool_call_id'],
      [{ messages: [{ role: 'constructor', content: 'x' }] }, 'messages[0].role'],
      [{ messages: [{ role: 'user' }] }, 'messages[0].content'],
      [{ messages: [{ role: 'user', content: [image] }] }, 'messages[0].content[0]'],
      [{ messages: [{ role: 'user', content: 'x', tool_calls: [1] }] }, 'messages[0].tool_calls'],
      [{ messages: [{ role: 'user', content: 'x', name: 7 }] }, 'messages[0].name'],
      [{ n: 0 }, 'n'],
      [{ n: 129 }, 'n'],
      [{ logprobs: 1 }, 'logprobs'],
      [{ top_logprobs: 2 }, 'top_logprobs'],
      [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
      [{ tools: [{ type: 'function' }] }, 'tools[0].function'],
      [{ tools: Array(129).fill({}) }, 'tools'],
      [{ tools: [{ type: 'custom', custom: {} }] }, 'tools[0]'],
      [{ tool_choice: 'required' }, 'tool_choice'],
      [{ functions: [{ name: 'f' }] }, 'functions'],
      [{ audio: {} }, 'audio'],
      [{ reasoning_effort: 'low' }, 'reasoning_effort'],
      [{ response_format: { type: 'xml' } }, 'response_format.type'],
      [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
      [{ response_format: { type: 'json_object' } }, 'response_format'],
      [{ frequency_penalty: 2.5 }, 'frequency_penalty'],
      [{ presence_penalty: '1' }, 'presence_penalty'],
      [{ logit_bias: { 5: 101 } }, 'logit_bias.5'],
      [{ logit_bias: { five: 1 } }, 'logit_bias'],
      [{ logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 1])) }, 'logit_bias'],
      [{ max_tokens: 0 }, 'max_tokens'],
      [{ max_tokens: 1.5 }, 'max_tokens'],
      [{ temperature: '1' }, 'temperature'],
      [{ stop: ['a', ''] }, 'stop'],
      [{ stop: 5 }, 'stop'],
      [{ stop: Array.from({ length: 65 }, String) }, 'stop'],
      [{ seed: 0.5 }, 'seed'],
      [{ seed: Number.POSITIVE_INFINITY }, 'seed'],
      [{ stream_options: 5 }, 'stream_options'],
      [{ typo: 1 }, 'typo'],
      [{ toString: 1 }, 'toString'],
    ];
    for (const [fields, where] of refused)
      for (const stream of [false, true]) {
        const request = { messages: USER, stream, ...fields } as unknown as ChatCompletionRequest;
        const error = await errorOf(completions.create(request));
        expect(error, where).toBeInstanceOf(DuobitError);
        expect(error).toMatchObject({ code: 'CHAT_REQUEST', where });
      }
    expect(await errorOf(completions.create({ messages: USER, temperature: -1 }))).toMatchObject({
      code: 'SAMPLER_OPTION',
      where: 'temperature',
    });
    expect(await errorOf(completions.create(null as unknown as ChatCompletionRequest))).toMatchObject({
      code: 'CHAT_REQUEST',
    });
    expect(calls).toEqual([]);
    const neutral = {
      ...{ model: 'm', user: 'u', n: 1, logprobs: false, top_logprobs: 0, frequency_penalty: 0, tools: [] },
      ...{ tool_choice: 'auto', response_format: { type: 'text' }, logit_bias: {}, presence_penalty: null },
      ...{
        modalities: ['text'],
        functions: [],
        function_call: 'none',
        parallel_tool_calls: true,
        store: false,
      },
    };
    await completions.create({ messages: USER, ...neutral } as ChatCompletionRequest);
    expect(calls).toHaveLength(1);
  });

  it('take turns in order, and refuse when too many wait', async () => {
    const { completions, state, calls } = play();
    const ends: number[] = [];
    const ask = (seed: number) =>
      completions.create({ messages: USER, seed }).then(() => {
        ends.push(seed);
      });
    const asked = [1, 2, 3].map(ask);
    expect(await errorOf(ask(4))).toMatchObject({ code: 'MODEL_BUSY' });
    await Promise.all(asked);
    await ask(5);
    expect(ends).toEqual([1, 2, 3, 5]);
    expect(calls.map(({ options }) => options.seed)).toEqual([1, 2, 3, 5]);
    expect(state).toEqual({ running: 0, mostRunning: 1 });
  });

  it('are as many as the model has sequences, and the rest wait', async () => {
    const { completions, state } = play({ sequences: 2 });
    const ask = () => completions.create({ messages: USER });
    const asked = [ask(), ask(), ask(), ask()];
    await expect(ask()).rejects.toMatchObject({ code: 'MODEL_BUSY' });
    await Promise.all(asked);
    expect(state).toEqual({ running: 0, mostRunning: 2 });
  });

  it('are free at once when a stream is left, and hold nothing when it was never read', async () => {
    const { completions, state } = play();
    await completions.create({ messages: USER, stream: true });
    for await (const chunk of await completions.create({ messages: USER, stream: true }))
      if (textOf([chunk]) === 'One') break;
    expect(state.running).toBe(0);
    expect((await completions.create({ messages: USER })).choices[0]!.message.content).toBe('One two three.');
  });

  it('stop when asked to: whole answers by an error, streams with what there is', async () => {
    const { completions, state } = play();
    const controller = new AbortController();
    const { signal } = controller;
    const whole = errorOf(completions.create({ messages: USER }, { signal }));
    const waiting = errorOf(completions.create({ messages: USER }, { signal }));
    const waitingStream = takeAll(completions.create({ messages: USER, stream: true }, { signal }));
    await new Promise((resolve) => setTimeout(resolve, 2));
    controller.abort();
    expect(await whole).toMatchObject({ code: 'ABORTED' });
    expect(await waiting).toMatchObject({ code: 'ABORTED' });
    expect(await waitingStream).toEqual([]);
    const second = new AbortController();
    const chunks: ChatCompletionChunk[] = [];
    for await (const chunk of await completions.create({ messages: USER, stream: true }, second)) {
      chunks.push(chunk);
      if (textOf(chunks) === 'One two') second.abort();
    }
    expect(textOf(chunks)).toBe('One two.');
    expect(chunks.every(({ choices }) => choices[0]!.finish_reason === null)).toBe(true);
    expect(state.running).toBe(0);
    expect(await errorOf(completions.create({ messages: USER }, { signal }))).toMatchObject({
      code: 'ABORTED',
    });
  });

  it('hand on what generation throws, and the next request is answered', async () => {
    const { model, completions } = play();
    const { generate } = model;
    const failing: ChatModel = {
      ...model,
      generate: (prompt, options) => {
        if (options?.seed === 0) throw new DuobitError('CHAT_TEMPLATE_MISSING', 'there is none');
        return generate(prompt, options);
      },
    };
    const chat = createChatCompletions(failing);
    for (const stream of [false, true])
      expect(
        await errorOf(
          (async () => {
            const answer = await chat.completions.create({ messages: USER, seed: 0, stream });
            if (stream) await takeAll(answer as AsyncIterable<ChatCompletionChunk>);
          })(),
        ),
      ).toMatchObject({ code: 'CHAT_TEMPLATE_MISSING' });
    expect(await chat.completions.create({ messages: USER })).toMatchObject({ model: 'played' });
    expect(await completions.create({ messages: USER })).toMatchObject({ model: 'played' });
  });

  it('are what a real model generates after its chat template', async () => {
    const model = await createModel(makeTinyModel({ seed: 3 }), createReferenceBackend());
    const chat = createChatCompletions(model);
    const request = { messages: USER, max_tokens: 20, seed: 5 } as const;
    let expected = '';
    for await (const { text } of model.generate(USER, { temperature: 1, maxTokens: 20, seed: 5 }))
      expected += text;
    const { choices, usage } = await chat.completions.create(request);
    expect(choices[0]!.message.content).toBe(expected);
    expect(usage.prompt_tokens).toBe(
      model.tokenizer.encode(model.tokenizer.applyChatTemplate(USER), { bos: false }).length,
    );
    expect(textOf(await takeAll(chat.completions.create({ ...request, stream: true })))).toBe(expected);
    // A direct call counts as running until it is left; chat completions do not wait for it.
    for await (const _ of model.generate('Hi', { maxTokens: 5, ignoreEos: true })) {
      expect(await errorOf(chat.completions.create(request))).toMatchObject({ code: 'MODEL_BUSY' });
      break;
    }
    await model.dispose();
  });
});
