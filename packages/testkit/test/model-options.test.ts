// What a model says to options and prompts of the wrong kind, as JavaScript can give them: always a DuobitError, and never a lost cache.
import { createModel, createReferenceBackend, type GenerateOptions, type ModelOptions } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { makeTinyModel } from '../src/tiny-model.ts';

const source = makeTinyModel({ seed: 92 });
const load = (options: object = {}) =>
  createModel(source, createReferenceBackend(), { contextLength: 32, ...(options as ModelOptions) });
const model = await load();

/** Its message, or what else came of it. */
async function refusal(act: () => unknown): Promise<{ code: string; message: string; where?: string }> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    const { code, message, where } = error;
    return { code, message, ...(where !== undefined && { where }) };
  }
  return { code: 'none', message: '' };
}

async function generate(prompt: unknown, options: unknown = {}): Promise<string> {
  let text = '';
  const given = options as GenerateOptions;
  for await (const event of model.generate(prompt as string, given)) text += event.text;
  return text;
}

const option = (options: object) => refusal(() => generate('x', options));

describe('options of generate', () => {
  it.each<[string, object]>([
    ['signal', { signal: new AbortController() }],
    ['signal', { signal: { aborted: false, addEventListener() {} } }],
    ['stop', { stop: null }],
    ['stop', { stop: [null] }],
    ['stop', { stop: 5 }],
    ['stop', { stop: '' }],
    ['maxTokens', { maxTokens: '5' }],
    ['maxTokens', { maxTokens: null }],
    ['logprobs', { logprobs: null }],
    ['ignoreEos', { ignoreEos: 'no' }],
    ['grammar', { grammar: null, grammars: { createConstraint() {} } }],
    ['grammars', { grammar: { kind: 'json-object' }, grammars: {} }],
  ])('refuse %s of the wrong kind: %o', async (where, options) => {
    expect(await option(options)).toMatchObject({ code: 'MODEL_OPTION', where });
  });

  it.each<[string, object]>([
    ['temperature', { temperature: '1' }],
    ['temperature', { temperature: null }],
    ['topK', { topK: null }],
    ['topP', { topP: null }],
    ['topP', { topP: '0.9' }],
    ['topP', { topP: [0.9] }],
    ['minP', { minP: null }],
    ['minP', { minP: true }],
    ['repetitionPenalty', { repetitionPenalty: '1' }],
    ['seed', { seed: null }],
    ['presencePenalty', { presencePenalty: null }],
    ['presencePenalty', { presencePenalty: -1e308 }],
    ['frequencyPenalty', { frequencyPenalty: -1e31 }],
    ['logitBias', { logitBias: null }],
    ['logitBias', { logitBias: 5 }],
    ['logitBias', { logitBias: new Map([[5, 1]]) }],
    ['logitBias of token 5', { logitBias: { 5: 1e39 } }],
    ['logitBias of token 5', { logitBias: { 5: '1' } }],
    ['logitBias', { logitBias: { 260: 1 } }],
    ['logitBias', { logitBias: { '-1': 1 } }],
    ['logitBias', { logitBias: { 1.5: 1 } }],
    ['logitBias', { logitBias: { x: 1 } }],
  ])('refuse %s of the wrong kind, or out of range: %o', async (where, options) => {
    expect(await option(options)).toMatchObject({ code: 'SAMPLER_OPTION', where });
  });

  it('say what there is in the place of what does not exist', async () => {
    const grammars = { createConstraint() {} };
    for (const grammar of [{ type: 'json' }, { kind: 'json' }])
      expect((await option({ grammar, grammars })).message).toMatch(/json-object.*json-schema.*tool-calls/);
    expect((await option({ topP: '0.9' })).message).toBe('topP is "0.9"; it must be a number from 0 to 1');
    expect((await refusal(() => generate('x', null))).code).toBe('MODEL_OPTION');
  });

  it('take a single stop text, and what is undefined as left out', async () => {
    const text = await generate('x', { maxTokens: 3, ignoreEos: true });
    const stop = text[1]!;
    const stopped = await generate('x', { maxTokens: 3, ignoreEos: true, stop });
    expect(stopped).toBe(text.slice(0, text.indexOf(stop)));
    const left = { stop: undefined, topP: undefined, logitBias: undefined, signal: null };
    expect(await generate('x', { maxTokens: 3, ignoreEos: true, ...left })).toBe(text);
  });

  it('stay finite as far as they go', async () => {
    const options = { presencePenalty: -1e30, frequencyPenalty: -1e30, logitBias: { 65: 1e30 } };
    expect(await generate('x', { maxTokens: 3, ignoreEos: true, ...options })).toBe('AAA');
  });
});

describe('prompts', () => {
  it.each([
    [null],
    [undefined],
    [5],
    [{}],
    [[null]],
    [['x']],
    [{ messages: 5 }],
    [{ messages: [], tools: 5 }],
    [{ tokens: 5 }],
    [{ tokens: null }],
  ])('of the wrong kind are refused: %o', async (prompt) => {
    expect(await refusal(() => generate(prompt))).toMatchObject({ code: 'MODEL_OPTION', where: 'prompt' });
  });

  it('of tokens that are none are refused, and typed arrays taken', async () => {
    for (const token of ['a', null, undefined, Number.NaN, 1.5, -1, 260])
      expect((await refusal(() => generate({ tokens: [1, token] }))).code).toBe('PROMPT_TOKEN');
    expect(await generate({ tokens: Int32Array.of(1, 2) }, { maxTokens: 2 })).toBe(
      await generate({ tokens: [1, 2] }, { maxTokens: 2 }),
    );
  });
});

describe('forward', () => {
  it.each([[['a']], [[Number.NaN]], [[1.5]], [[undefined]], [[-1]]])(
    'refuses what is no token: %o',
    async (tokens) => {
      expect((await refusal(() => model.forward(tokens as number[]))).code).toBe('RUN_INVALID');
    },
  );

  it('refuses tokens and options of the wrong kind', async () => {
    for (const tokens of [null, undefined, 5])
      expect(await refusal(() => model.forward(tokens as never))).toMatchObject({
        code: 'MODEL_OPTION',
        where: 'tokens',
      });
    for (const logits of ['bad', null])
      expect(await refusal(() => model.forward([1], { logits: logits as never }))).toMatchObject({
        code: 'MODEL_OPTION',
        where: 'logits',
      });
    expect(await model.forward([1])).toHaveLength(260);
  });
});

describe('options of createModel', () => {
  it.each<[string, object]>([
    ['signal', { signal: new AbortController() }],
    ['activations', { activations: 'a16' }],
    ['activations', { activations: 'F16' }],
    ['activations', { activations: null }],
  ])('refuse %s of the wrong kind: %o', async (where, options) => {
    expect(await refusal(() => load(options))).toMatchObject({ code: 'MODEL_OPTION', where });
  });

  it('refuse a chat template that cannot be parsed, before anything is read, but not the one in the model', async () => {
    for (const chatTemplate of ['{% bad', '', 5, null])
      for (const tokenizer of [true, false])
        expect((await refusal(() => load({ chatTemplate, tokenizer }))).code).toBe('CHAT_TEMPLATE_INVALID');
    const broken = {
      ...source,
      readAsset: async (kind: Parameters<typeof source.readAsset>[0]) =>
        kind === 'chat-template' ? new TextEncoder().encode('{% bad') : source.readAsset(kind),
    };
    const loaded = await createModel(broken, createReferenceBackend());
    expect(loaded.hasChatTemplate).toBe(true);
    for await (const event of loaded.generate('x', { maxTokens: 1 })) expect(event).toBeDefined();
    expect((await refusal(() => loaded.tokenizer.applyChatTemplate([]))).code).toBe('CHAT_TEMPLATE_INVALID');
  });
});
