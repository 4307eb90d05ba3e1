// Completions of texts over a played model, and over a tiny one that is not.
import { createModel, createReferenceBackend } from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import type { GenerationEvent } from '../generation.ts';
import { errorOf, type Play, playModel, takeAll } from '../testing/played-model.ts';
import { type ChatModel, createTurns } from './answers.ts';
import { createChatCompletions } from './chat-completions.ts';
import type { CompletionRequest } from './completion-types.ts';
import { createCompletions } from './completions.ts';

function play(options: Play = {}) {
  const played = playModel(options);
  return { ...played, completions: createCompletions(played.model) };
}

describe('completions', () => {
  it('continue a text, in the shape of the API', async () => {
    const { completions, calls } = play();
    expect(await completions.create({ prompt: 'Count:', seed: 3, stop: 'END' })).toEqual({
      id: expect.stringMatching(/^cmpl-[0-9a-f]{24}$/),
      object: 'text_completion',
      created: expect.any(Number),
      model: 'played',
      choices: [{ index: 0, text: 'One two three.', logprobs: null, finish_reason: 'stop' }],
      usage: {
        ...{ prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
        prompt_tokens_details: { cached_tokens: 2 },
      },
    });
    expect(calls[0]).toMatchObject({
      prompt: 'Count:',
      options: { maxTokens: 16, temperature: 1, seed: 3, stop: ['END'] },
    });
    await completions.create({ prompt: [1, 2, 3], max_tokens: 0 });
    expect(calls[1]).toMatchObject({ prompt: { tokens: [1, 2, 3] }, options: { maxTokens: 0 } });
  });

  it('continue several, with several choices each, and echo them', async () => {
    const { completions, calls } = play({ words: [' b'] });
    const request = { prompt: ['x', 'y'], n: 2, best_of: 2, echo: true, seed: 5 } as CompletionRequest;
    const { choices, usage } = await completions.create({ ...request, stream: false });
    expect(choices.map(({ index, text }) => [index, text])).toEqual([
      [0, 'x b.'],
      [1, 'x b.'],
      [2, 'y b.'],
      [3, 'y b.'],
    ]);
    expect(calls.map(({ prompt, options }) => [prompt, options.seed])).toEqual([
      ['x', 5],
      ['x', 6],
      ['y', 5],
      ['y', 6],
    ]);
    // A prompt counts once, and its choices each.
    expect(usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 4 });
    await completions.create({ prompt: [[1], [2, 3]] });
    expect(calls.slice(4).map(({ prompt }) => prompt)).toEqual([{ tokens: [1] }, { tokens: [2, 3] }]);
  });

  it('come in pieces that make the whole', async () => {
    const { completions } = play({ reason: 'length' });
    const request = {
      prompt: 'x',
      echo: true,
      stream: true,
      stream_options: { include_usage: true },
    } as const;
    const pieces = await takeAll(completions.create(request));
    expect(pieces.map(({ choices }) => choices[0]?.text)).toEqual(['xOne', ' two', ' three', '.', undefined]);
    expect(pieces.map(({ choices }) => choices[0]?.finish_reason)).toEqual([
      null,
      null,
      null,
      'length',
      undefined,
    ]);
    expect(pieces.map(({ usage }) => usage?.completion_tokens)).toEqual([...Array(4).fill(undefined), 3]);
  });

  it('count each prompt once, in whatever order choices of a stream end', async () => {
    const model: ChatModel = {
      ...playModel().model,
      sequences: 4,
      async *generate(prompt, { seed } = {}): AsyncGenerator<GenerationEvent, void, undefined> {
        // The first choices of both prompts end before the second ones.
        for (let left = seed! * 10; left > 0; left--) await Promise.resolve();
        const timings = { prefillTokens: 0, prefillSeconds: 0, decodeTokens: 0, decodeSeconds: 0 };
        const counts = { tokens: 1, promptTokens: String(prompt).length, cachedTokens: 0 };
        yield { kind: 'finish', reason: 'length', text: 'x', timings, ...counts };
      },
    };
    const request = { prompt: ['1', '333'], n: 2, seed: 0 } as const;
    const options = { stream_options: { include_usage: true } };
    const pieces = await takeAll(createCompletions(model).create({ ...request, ...options, stream: true }));
    expect(pieces.slice(0, 2).map(({ choices }) => choices[0]!.index)).toEqual([0, 2]);
    const { usage } = await createCompletions(model).create(request);
    expect(usage).toMatchObject({ prompt_tokens: 4, completion_tokens: 4 });
    expect(pieces.at(-1)!.usage).toEqual(usage);
  });

  it('tell log-probabilities by tokens and places', async () => {
    const { completions } = play();
    const { choices } = await completions.create({ prompt: 'x', logprobs: 2 });
    const expected = {
      tokens: ['One', ' two', ' three'],
      token_logprobs: [-1, -2, -3],
      // The played tokens of a place have one text: the likeliest counts.
      top_logprobs: [{ One: -1 }, { ' two': -2 }, { ' three': -3 }],
      text_offset: [0, 3, 7],
    };
    expect(choices[0]!.logprobs).toEqual(expected);
    const pieces = await takeAll(completions.create({ prompt: 'x', logprobs: 2, stream: true }));
    const told = pieces.flatMap(({ choices }) => choices[0]!.logprobs ?? []);
    expect(told.flatMap(({ text_offset }) => text_offset)).toEqual(expected.text_offset);
    expect(told.flatMap(({ token_logprobs }) => token_logprobs)).toEqual(expected.token_logprobs);
  });

  it('have the chosen token among the likely ones, and no more than one beside them', async () => {
    const model = await createModel(makeTinyModel({ seed: 3 }), createReferenceBackend());
    const request = { prompt: 'Once', max_tokens: 9, seed: 5, logprobs: 1 };
    const { tokens, token_logprobs, top_logprobs } = (await createCompletions(model).create(request))
      .choices[0]!.logprobs!;
    expect(top_logprobs.map((top, i) => top[tokens[i]!])).toEqual(token_logprobs);
    expect(Math.max(...top_logprobs.map((top) => Object.keys(top).length))).toBe(2);
    await model.dispose();
  });

  it('are refused by field where they are malformed or not supported', async () => {
    const { completions, calls } = play();
    const refused: [Record<string, unknown>, string][] = [
      [{}, 'prompt'],
      [{ prompt: [] }, 'prompt'],
      [{ prompt: [1, -1] }, 'prompt[0]'],
      [{ prompt: ['a', [1.5]] }, 'prompt[1]'],
      [{ prompt: 'x', suffix: 'y' }, 'suffix'],
      [{ prompt: 'x', best_of: 3 }, 'best_of'],
      [{ prompt: 'x', logprobs: true }, 'logprobs'],
      [{ prompt: 'x', logprobs: 21 }, 'logprobs'],
      [{ prompt: 'x', logprobs: 1, echo: true }, 'echo'],
      [{ prompt: [1], echo: true }, 'echo'],
      [{ prompt: 'x', max_tokens: -1 }, 'max_tokens'],
      [{ prompt: 'x', messages: [] }, 'messages'],
      [{ prompt: Array(100).fill('x'), n: 100 }, 'prompt'],
    ];
    for (const [fields, where] of refused)
      expect(await errorOf(completions.create(fields as unknown as CompletionRequest)), where).toMatchObject({
        code: 'CHAT_REQUEST',
        where,
      });
    expect(calls).toEqual([]);
  });

  it('take turns with chat completions where they share them', async () => {
    const { model, state } = playModel();
    const turns = createTurns(model, 1);
    const chat = createChatCompletions(model, { turns });
    const texts = createCompletions(model, { turns });
    const both = [
      chat.completions.create({ messages: [{ role: 'user', content: 'Hi' }] }),
      texts.create({ prompt: 'x' }),
    ];
    expect(await errorOf(texts.create({ prompt: 'x' }))).toMatchObject({ code: 'MODEL_BUSY' });
    await Promise.all(both);
    expect(state).toEqual({ running: 0, mostRunning: 1 });
  });

  it('of tokens that the model does not have are refused', async () => {
    const model = await createModel(makeTinyModel({ seed: 3 }), createReferenceBackend());
    const { vocabularySize } = model.architecture;
    // The last one would be token 5 in 32 bits.
    for (const token of [vocabularySize, 2 ** 32 + 5])
      expect(await errorOf(createCompletions(model).create({ prompt: [1, token] }))).toMatchObject({
        code: 'PROMPT_TOKEN',
        where: 'prompt',
      });
    await model.dispose();
  });

  it('are what a real model generates', async () => {
    const model = await createModel(makeTinyModel({ seed: 3 }), createReferenceBackend());
    let expected = '';
    for await (const { text } of model.generate('Once', { temperature: 1, maxTokens: 9, seed: 5 }))
      expected += text;
    const { choices } = await createCompletions(model).create({ prompt: 'Once', max_tokens: 9, seed: 5 });
    expect(choices[0]!.text).toBe(expected);
    await model.dispose();
  });
});
