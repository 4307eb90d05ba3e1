// Loading and generation, on tiny models.
import {
  type Backend,
  type ChatMessage,
  createModel,
  createReferenceBackend,
  type GenerateOptions,
  type GenerationEvent,
  type Model,
  type ModelOptions,
  type Prompt,
} from '@duobit/core';
import { DuobitError, type ModelSource } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { makeTinyModel } from '../src/tiny-model.ts';

const source = makeTinyModel({ seed: 90 });
const load = (options: ModelOptions = {}, from: ModelSource = source) =>
  createModel(from, createReferenceBackend(), { contextLength: 32, maxRows: 8, ...options });

interface Outcome {
  readonly text: string;
  readonly tokens: number[];
  readonly events: GenerationEvent[];
  readonly finish: Extract<GenerationEvent, { kind: 'finish' }>;
}

async function collect(model: Model, prompt: Prompt, options: GenerateOptions = {}): Promise<Outcome> {
  const events: GenerationEvent[] = [];
  for await (const event of model.generate(prompt, { ignoreEos: true, ...options })) events.push(event);
  const finish = events.at(-1);
  if (finish?.kind !== 'finish') throw new Error('the last event is not the end');
  return {
    text: events.map(({ text }) => text).join(''),
    tokens: events.flatMap((event) => (event.kind === 'token' ? [event.token] : [])),
    events,
    finish,
  };
}

async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (error instanceof DuobitError) return error.code;
    throw error;
  }
  return 'none';
}

/** The reference backend with logits replaced: the token at each position is what `choose` says. */
function scripted(choose: (position: number) => number, vocabulary = 260): Backend {
  const backend = createReferenceBackend();
  return {
    ...backend,
    async prepare(plan, weights, options) {
      const program = await backend.prepare(plan, weights, options);
      let last = 0;
      return {
        weightBytes: program.weightBytes,
        write: (slot, values) => program.write(slot, values),
        dispose: () => program.dispose(),
        async run(request) {
          last = request.position + request.rows - 1;
          await program.run(request);
        },
        async read() {
          const logits = new Float32Array(vocabulary).fill(-10);
          logits[choose(last)] = 10;
          return logits;
        },
      };
    },
  };
}

/** A model that answers a one-token prompt with this text, token by token. */
async function writing(text: string, end: number[] = []): Promise<Model> {
  const tokens = [...new TextEncoder().encode(text), ...end];
  return createModel(
    source,
    scripted((position) => tokens[position] ?? 46),
    { contextLength: 32, maxRows: 8 },
  );
}

const start = { tokens: [256] };

describe('forward', () => {
  it('gives the same logits in chunks, in one piece and step by step', async () => {
    const tokens = [256, 72, 101, 108, 108, 111, 32, 119, 111, 114];
    const model = await load();
    const all = await model.forward(tokens, { logits: 'all' });
    expect(all).toHaveLength(tokens.length * 260);
    const whole = await load({ maxRows: 32 });
    expect(await whole.forward(tokens, { logits: 'all' })).toEqual(all);
    expect(await whole.forward(tokens)).toEqual(all.slice(-260));
    expect(await model.forward(Int32Array.from(tokens), { logits: 'none' })).toHaveLength(0);
    for (const [position, token] of tokens.entries())
      expect(await model.forward([token], { position })).toEqual(
        all.slice(position * 260, (position + 1) * 260),
      );
  });

  it('refuses what does not fit', async () => {
    const model = await load();
    expect(await codeOf(() => model.forward([]))).toBe('PROMPT_EMPTY');
    expect(await codeOf(() => model.forward(new Int32Array(33)))).toBe('CONTEXT_TOO_LONG');
    expect(await codeOf(() => model.forward([1], { position: 32 }))).toBe('CONTEXT_TOO_LONG');
    expect(await codeOf(() => model.forward([1], { position: -1 }))).toBe('CONTEXT_TOO_LONG');
    expect(await codeOf(() => model.forward([260]))).toBe('RUN_INVALID');
    expect(await model.forward([1])).toHaveLength(260);
  });
});

describe('generate', () => {
  it('is greedy by default and agrees with forward', async () => {
    const model = await load();
    const { tokens, finish, text } = await collect(model, 'Hello', { maxTokens: 5 });
    const ids = model.tokenizer.encode('Hello');
    for (const token of tokens) {
      const logits = await model.forward(ids);
      expect(logits.indexOf(Math.max(...logits))).toBe(token);
      ids.push(token);
    }
    expect(text).toBe(model.tokenizer.decode(tokens));
    expect(finish).toMatchObject({ reason: 'length', tokens: 5, promptTokens: 6 });
    expect(finish.timings).toMatchObject({ prefillTokens: 6, decodeTokens: 4 });
    expect(finish.timings.prefillSeconds).toBeGreaterThan(0);
    expect(finish.timings.decodeSeconds).toBeGreaterThan(0);
  });

  it('repeats with a seed and differs without it', async () => {
    const model = await load();
    const options = { maxTokens: 12, temperature: 1.5 };
    const first = await collect(model, 'Hi', { ...options, seed: 5 });
    expect((await collect(model, 'Hi', { ...options, seed: 5 })).tokens).toEqual(first.tokens);
    expect((await collect(model, 'Hi', { ...options, seed: 6 })).tokens).not.toEqual(first.tokens);
  });

  it('ends at an end-of-text token, which is no event', async () => {
    const model = await writing('Done', [257]);
    const { text, finish, tokens } = await collect(model, start, { ignoreEos: false });
    expect(text).toBe('Done');
    expect(tokens).toHaveLength(4);
    expect(finish).toMatchObject({ reason: 'eos', tokens: 4, text: '' });
    const goingOn = await collect(model, start, { maxTokens: 7 });
    expect(goingOn.finish.reason).toBe('length');
    expect(goingOn.tokens).toHaveLength(7);
  });

  it('ends at a stop string across tokens, and shows nothing of it', async () => {
    const model = await writing('one END two EXIT');
    const { text, finish, events } = await collect(model, start, { stop: ['EXIT', 'END'] });
    expect(text).toBe('one ');
    expect(finish.reason).toBe('stop');
    expect(events.map((event) => event.text)).toEqual(['o', 'n', 'e', ' ', '', '', '', '']);
  });

  it('gives back text held for a stop string that did not come', async () => {
    const model = await writing('an E', [257]);
    const { text, finish } = await collect(model, start, { stop: ['END'], ignoreEos: false });
    expect(text).toBe('an E');
    expect(finish).toMatchObject({ reason: 'eos', text: 'E' });
  });

  it('streams whole characters, and flushes a broken one at the end', async () => {
    const { events } = await collect(await writing('é😀'), start, { maxTokens: 6 });
    expect(events.map((event) => event.text)).toEqual(['', 'é', '', '', '', '😀', '']);
    const cut = await collect(await writing('é😀'), start, { maxTokens: 4 });
    expect(cut.finish.text).toBe('\uFFFD');
    expect(cut.text).toBe('é\uFFFD');
  });

  it('ends with context when the cache is full', async () => {
    const model = await load({ contextLength: 8 });
    const { finish, tokens } = await collect(model, { tokens: [256, 65, 66] });
    expect(finish.reason).toBe('context');
    // Positions 3 to 7 take five tokens; the last one sampled needs no place.
    expect(tokens).toHaveLength(6);
    const full = await collect(model, { tokens: [256, 65, 66, 67, 68, 69, 70, 71] });
    expect(full.finish.reason).toBe('context');
    expect(full.tokens).toHaveLength(1);
  });

  it('takes a conversation through the chat template, without a second BOS', async () => {
    const model = await load({ contextLength: 64 });
    const messages: ChatMessage[] = [{ role: 'user', content: 'Hi' }];
    const ids = model.tokenizer.encode(model.tokenizer.applyChatTemplate(messages), { bos: false });
    const chat = await collect(model, messages, { maxTokens: 4 });
    expect(chat.finish.promptTokens).toBe(ids.length);
    expect(chat.tokens).toEqual((await collect(model, { tokens: ids }, { maxTokens: 4 })).tokens);
  });

  it('only reads the prompt when no tokens are asked for', async () => {
    const { finish, events } = await collect(await load(), 'Hello', { maxTokens: 0 });
    expect(events).toHaveLength(1);
    expect(finish).toMatchObject({ reason: 'length', tokens: 0, promptTokens: 6 });
  });

  it('ends with aborted: before the prompt, between tokens, and from a timer', async () => {
    const model = await load();
    const before = await collect(model, 'Hello', { signal: AbortSignal.abort() });
    expect(before.finish).toMatchObject({ reason: 'aborted', tokens: 0 });
    expect(before.finish.timings.prefillTokens).toBe(0);

    const controller = new AbortController();
    const events: GenerationEvent[] = [];
    for await (const event of model.generate('Hello', { signal: controller.signal, ignoreEos: true })) {
      events.push(event);
      if (events.length === 3) controller.abort();
    }
    expect(events.at(-1)).toMatchObject({ kind: 'finish', reason: 'aborted', tokens: 3 });

    const long = await load({ contextLength: 64 });
    const timed = new AbortController();
    setTimeout(() => timed.abort(), 1);
    const reasons = new Set<string>();
    for (let i = 0; i < 500 && !reasons.has('aborted'); i++)
      reasons.add((await collect(long, 'Hello', { signal: timed.signal })).finish.reason);
    expect(reasons).toContain('aborted');
  });

  it('refuses a text that cannot fit before it is tokenized', async () => {
    const model = await load();
    const { tokenizer } = model;
    expect(tokenizer.longestToken).toBe('<|turn|>'.length);
    tokenizer.encode = () => {
      throw new Error('a text was tokenized');
    };
    const most = 32 * tokenizer.longestToken;
    const attempt = (prompt: Prompt) => collect(model, prompt).catch((error: Error) => error.message);
    const refused = `no 32 tokens, which the context holds, have more than ${most}`;
    expect(await attempt('x'.repeat(most + 1))).toContain(refused);
    expect(await attempt([{ role: 'user', content: 'x'.repeat(most) }])).toContain(refused);
    expect(await attempt('x'.repeat(most))).toBe('a text was tokenized');
  });

  it('advises a larger context only where the model has one', async () => {
    const remedies = async (contextLength: number): Promise<(string | undefined)[]> => {
      const model = await load({ contextLength });
      const tokens = Array<number>(contextLength + 1).fill(1);
      const long = 'x'.repeat(contextLength * model.tokenizer.longestToken + 1);
      const acts = [
        () => collect(model, { tokens }),
        () => collect(model, long),
        () => model.forward(tokens),
      ];
      return Promise.all(acts.map((act) => act().then(String, ({ remedy }: DuobitError) => remedy)));
    };
    const { contextLength: most } = source.architecture;
    const larger = `or load the model with a larger context length, at most ${most}`;
    for (const remedy of await remedies(most - 1)) expect(remedy).toContain(larger);
    for (const remedy of await remedies(most))
      expect(remedy).toMatch(/^Shorten the (prompt|text): the model has no larger/);
  });

  it('takes another chat template in the place of its own', async () => {
    const model = await load({ chatTemplate: '{% for m in messages %}{{ m.content }}!{% endfor %}' });
    expect(model.tokenizer.applyChatTemplate([{ role: 'robot', content: 'Hi' }])).toBe('Hi!');
  });

  it('refuses bad prompts and options', async () => {
    const model = await load();
    const attempt = (prompt: Prompt, options?: GenerateOptions) =>
      codeOf(() => collect(model, prompt, options));
    expect(await attempt({ tokens: [] })).toBe('PROMPT_EMPTY');
    expect(await attempt('x'.repeat(32))).toBe('CONTEXT_TOO_LONG');
    expect(await attempt('x', { maxTokens: -1 })).toBe('MODEL_OPTION');
    expect(await attempt('x', { maxTokens: 1.5 })).toBe('MODEL_OPTION');
    expect(await attempt('x', { stop: ['a', ''] })).toBe('MODEL_OPTION');
    expect(await attempt('x', { temperature: -1 })).toBe('SAMPLER_OPTION');
    expect(await attempt([{ role: 'robot', content: '' }])).toBe('CHAT_TEMPLATE_FAILED');
    expect(() => model.generate('x', { topP: 2 })).toThrow(DuobitError);
    expect((await collect(model, 'x', { maxTokens: 1 })).tokens).toHaveLength(1);
  });

  it('reports broken logits instead of writing on', async () => {
    const nan = makeTinyModel({ seed: 91 });
    const broken: ModelSource = {
      ...nan,
      async readTensor(name) {
        const data = await nan.readTensor(name);
        if (name !== 'model.norm.weight') return data;
        const dense = new Uint8Array(data.planes.dense!);
        new DataView(dense.buffer).setFloat32(0, Number.NaN, true);
        return { ...data, planes: { dense } };
      },
    };
    const model = await load({}, broken);
    expect(await codeOf(() => collect(model, 'Hi'))).toBe('SAMPLER_LOGITS_INVALID');
  });
});

describe('a model', () => {
  it('does one thing at a time and is free again after a loop was left', async () => {
    const model = await load();
    for await (const event of model.generate('Hello', { ignoreEos: true })) {
      expect(event.kind).toBe('token');
      expect(await codeOf(() => collect(model, 'x'))).toBe('MODEL_BUSY');
      expect(await codeOf(() => model.forward([1]))).toBe('MODEL_BUSY');
      break;
    }
    const running = model.forward([1, 2, 3]);
    expect(await codeOf(() => model.forward([1]))).toBe('MODEL_BUSY');
    await running;
    expect((await collect(model, 'x', { maxTokens: 2 })).tokens).toHaveLength(2);
  });

  it.each([
    ['the model carries none', {}, false],
    ['it was not asked for', { tokenizer: false }, true],
  ])('works on token ids without a tokenizer: %s', async (_, options, tokenizer) => {
    const model = await load(options, makeTinyModel({ seed: 90, tokenizer }));
    expect(() => model.tokenizer).toThrow('the model carries no tokenizer');
    const { text, tokens } = await collect(model, start, { maxTokens: 3 });
    expect(text).toBe('');
    expect(tokens).toEqual((await collect(await load(), start, { maxTokens: 3 })).tokens);
    expect(await codeOf(() => collect(model, 'text'))).toBe('TOKENIZER_MISSING');
    expect(await codeOf(() => collect(model, start, { stop: ['x'] }))).toBe('MODEL_OPTION');
  });

  it('tells what it is and how it loads', async () => {
    const progress: [number, number][] = [];
    const model = await load({ onLoad: (loaded, total) => progress.push([loaded, total]) });
    expect(progress).toEqual(Array.from({ length: 20 }, (_, i) => [i + 1, 20]));
    expect(model).toMatchObject({
      name: 'tiny model 90',
      backendName: 'reference',
      threads: 1,
      contextLength: 32,
    });
    const parameters = [...source.made.values()].reduce((sum, { weights }) => sum + weights.length, 0);
    expect(model.weightBytes).toBe(4 * parameters);
    expect((await createModel(source, createReferenceBackend())).contextLength).toBe(64);
  });

  it('refuses options out of range, an abort and work after dispose', async () => {
    for (const options of [
      { contextLength: 0 },
      { contextLength: 65 },
      { contextLength: 1.5 },
      { maxRows: 0 },
    ])
      expect(await codeOf(() => load(options))).toBe('MODEL_OPTION');
    expect(await codeOf(() => load({ signal: AbortSignal.abort() }))).toBe('ABORTED');
    const model = await load();
    const iteration = model.generate('Hello', { ignoreEos: true })[Symbol.asyncIterator]();
    await iteration.next();
    await model.dispose();
    await model.dispose();
    expect(await codeOf(() => iteration.next())).toBe('MODEL_DISPOSED');
    expect(await codeOf(() => model.forward([1]))).toBe('MODEL_DISPOSED');
  });
});
