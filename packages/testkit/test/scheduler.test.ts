// Several generations at the same time on one model: what each gets, who waits, who is let go, and what is not run again.
import {
  type Backend,
  createModel,
  createReferenceBackend,
  createWasmBackend,
  type GenerateOptions,
  type GenerationEvent,
  type Model,
  type ModelOptions,
  type Prompt,
  type RunPart,
  type RunRequest,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { demandRowInvariance } from '../src/row-invariance.ts';
import { makeTinyModel } from '../src/tiny-model.ts';

const source = makeTinyModel({ seed: 95, linear: 'w11', embedding: 'int8' });
const load = (options: ModelOptions = {}, backend: Backend = createReferenceBackend()) =>
  createModel(source, backend, { contextLength: 64, maxRows: 8, ...options });

type Finish = Extract<GenerationEvent, { kind: 'finish' }>;

async function write(
  model: Model,
  prompt: Prompt,
  options: GenerateOptions = {},
): Promise<{ tokens: number[]; finish: Finish }> {
  const tokens: number[] = [];
  for await (const event of model.generate(prompt, { ignoreEos: true, maxTokens: 6, ...options })) {
    if (event.kind === 'token') tokens.push(event.token);
    else return { tokens, finish: event };
  }
  throw new Error('there was no last event');
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

const partsOf = (request: RunRequest): RunPart[] => [request, ...(request.others ?? [])];

/** The reference backend with an eye on runs: what was asked for, and what is to happen before. */
function watched(before: (request: RunRequest, index: number) => unknown = () => {}) {
  const runs: RunPart[][] = [];
  const inner = createReferenceBackend();
  const backend: Backend = {
    ...inner,
    async prepare(plan, weights, options) {
      const program = await inner.prepare(plan, weights, options);
      return {
        weightBytes: program.weightBytes,
        write: (slot, values) => program.write(slot, values),
        read: (slot) => program.read(slot),
        dispose: () => program.dispose(),
        async run(request) {
          runs.push(partsOf(request));
          await before(request, runs.length - 1);
          await program.run(request);
        },
      };
    },
  };
  return { backend, runs };
}

/** Starts generating and stops after the first token, with the cache still taken. */
async function begin(model: Model, prompt: Prompt, options: GenerateOptions = {}) {
  const iteration = model
    .generate(prompt, { ignoreEos: true, maxTokens: 40, ...options })
    [Symbol.asyncIterator]();
  expect((await iteration.next()).value).toMatchObject({ kind: 'token' });
  return iteration;
}

const PROMPTS = ['Hello', 'Hello, who is there?', 'A', 'Good night', 'Hello', 'Once upon a time there was'];

describe('generations at the same time', () => {
  it.each([
    ['greedy', { maxTokens: 16 }],
    ['drawn', { maxTokens: 16, temperature: 1.2, topP: 0.9 }],
  ])('write what each would write alone, %s', async (_, options) => {
    const alone = await load();
    const wanted: number[][] = [];
    for (const [seed, prompt] of PROMPTS.entries())
      wanted.push((await write(alone, prompt, { ...options, seed })).tokens);
    const { backend, runs } = watched();
    const model = await load({ sequences: 4, queue: 2 }, backend);
    expect(model.sequences).toBe(4);
    const found = await Promise.all(
      PROMPTS.map((prompt, seed) => write(model, prompt, { ...options, seed })),
    );
    expect(found.map(({ tokens }) => tokens)).toEqual(wanted);
    expect(Math.max(...runs.map((parts) => parts.length))).toBe(4);
    const rows = (parts: RunPart[]) => parts.reduce((sum, part) => sum + part.rows, 0);
    expect(Math.max(...runs.map(rows))).toBe(8);
  });

  it('are not held up by a long prompt, which comes on beside them', async () => {
    const { backend, runs } = watched();
    const model = await load({ sequences: 3 }, backend);
    const writing = [await begin(model, 'A'), await begin(model, 'B')];
    const before = runs.length;
    const long = write(model, { tokens: Array.from({ length: 40 }, (_, i) => i + 1) }, { maxTokens: 1 });
    // Whoever reads takes a token as soon as there is one.
    const tokens = await Promise.all(
      writing.map(async (iteration) => {
        for (let i = 0; i < 20; i++) expect((await iteration.next()).value).toMatchObject({ kind: 'token' });
        await iteration.return?.();
      }),
    );
    expect(tokens).toHaveLength(2);
    await long;
    const mixed = runs.slice(before).filter((parts) => parts.length === 3);
    expect(mixed.length).toBeGreaterThan(10);
    for (const parts of mixed) {
      expect(parts.map(({ rows }) => rows)).toEqual([2, 1, 1]);
      expect(parts.slice(1).every(({ logits }) => logits === 'last')).toBe(true);
    }
  });

  it('get their turns also where a run has fewer rows than there are texts', async () => {
    const model = await load({ sequences: 5, maxRows: 2 });
    const texts = await Promise.all(PROMPTS.slice(0, 5).map((prompt) => write(model, prompt)));
    expect(texts.every(({ tokens }) => tokens.length === 6)).toBe(true);
    const one = await load({ sequences: 3, maxRows: 1 });
    const alone = await load();
    const [first] = await Promise.all(PROMPTS.slice(0, 3).map((prompt) => write(one, prompt)));
    expect(first!.tokens).toEqual((await write(alone, PROMPTS[0]!)).tokens);
  });

  it('more than there are caches for are refused, or wait in order as far as the queue goes', async () => {
    const model = await load({ sequences: 2, queue: 2 });
    const running = [await begin(model, 'A'), await begin(model, 'B')];
    const ended: string[] = [];
    const waiting = ['C', 'D'].map(async (prompt) => {
      await write(model, prompt);
      ended.push(prompt);
    });
    expect(await codeOf(() => write(model, 'E'))).toBe('MODEL_BUSY');
    expect(await codeOf(() => model.forward([1]))).toBe('MODEL_BUSY');
    await running[0]!.return?.();
    await Promise.all(waiting);
    expect(ended).toEqual(['C', 'D']);
    await running[1]!.return?.();
    expect(await model.forward([1])).toHaveLength(260);
    const strict = await load({ sequences: 2 });
    await Promise.all([begin(strict, 'A'), begin(strict, 'B')]);
    await expect(write(strict, 'C')).rejects.toThrow(
      'generate was called while 2 calls of generate are running',
    );
  });

  it('wait for forward, which has the model to itself', async () => {
    const model = await load({ sequences: 2, queue: 1 });
    const logits = model.forward([1, 2, 3]);
    expect(await codeOf(() => model.forward([1]))).toBe('MODEL_BUSY');
    const text = write(model, 'A');
    expect(await logits).toHaveLength(260);
    expect((await text).tokens).toHaveLength(6);
  });

  it('give their cache back at once when aborted, read or not, waiting or not', async () => {
    const model = await load({ sequences: 1, queue: 2 });
    const stop = new AbortController();
    const held = await begin(model, 'A', { signal: stop.signal });
    const leave = new AbortController();
    const left = write(model, 'B', { signal: leave.signal });
    const next = write(model, 'C');
    leave.abort();
    expect((await left).finish).toMatchObject({ reason: 'aborted', tokens: 0, cachedTokens: 0 });
    stop.abort();
    expect((await next).tokens).toHaveLength(6);
    expect((await held.next()).value).toMatchObject({ kind: 'finish', reason: 'aborted', tokens: 1 });
    expect((await write(model, 'D')).tokens).toHaveLength(6);
  });

  it('give their cache back when their signal fails, at once or after waiting', async () => {
    const model = await load({ sequences: 1, queue: 1 });
    const broken = (most: number): AbortSignal => {
      let count = 0;
      const addEventListener = (): void => {
        if (++count > most) throw new Error('no listeners');
      };
      return { aborted: false, addEventListener, removeEventListener() {} } as unknown as AbortSignal;
    };
    await expect(write(model, 'A', { signal: broken(0) })).rejects.toThrow('no listeners');
    const held = await begin(model, 'B');
    const waiting = write(model, 'C', { signal: broken(1) });
    await held.return?.();
    await expect(waiting).rejects.toThrow('no listeners');
    expect((await write(model, 'D')).tokens).toHaveLength(6);
    await model.forward([1]);
    const stuck = { aborted: false, addEventListener() {}, removeEventListener: broken(0).addEventListener };
    await expect(write(model, 'E', { signal: stuck as unknown as AbortSignal })).rejects.toThrow();
    expect((await write(model, 'F')).tokens).toHaveLength(6);
  });

  it('that are aborted during a run end at once, and their cache is not believed', async () => {
    const stop = new AbortController();
    const { backend, runs } = watched((_, index) => {
      if (index === 2) stop.abort();
    });
    const model = await load({ reusePrefix: true }, backend);
    const { finish } = await write(model, 'Hello', { signal: stop.signal });
    expect(finish).toMatchObject({ reason: 'aborted', tokens: 2 });
    const again = await write(model, { tokens: [...model.tokenizer.encode('Hello'), 1, 2, 3] });
    expect(again.finish.cachedTokens).toBeLessThanOrEqual(8);
    expect(runs.length).toBeGreaterThan(3);
  });

  it('survive the bad input of another', async () => {
    const model = await load({ sequences: 3 });
    const wanted = (await write(await load(), 'Hello')).tokens;
    const codes = ['PROMPT_TOKEN', 'PROMPT_EMPTY', 'CONTEXT_TOO_LONG'];
    const bad = [{ tokens: [1, 260] }, { tokens: [] }, { tokens: new Array<number>(65).fill(1) }];
    for (const [i, prompt] of bad.entries()) {
      const [good, code] = await Promise.all([write(model, 'Hello'), codeOf(() => write(model, prompt))]);
      expect(good.tokens).toEqual(wanted);
      expect(code).toBe(codes[i]);
    }
  });

  it('all end with the error of a run, and the model starts anew', async () => {
    const lost = new DuobitError('BACKEND_DEVICE_LOST', 'gone', { remedy: 'none' });
    const { backend } = watched((_, index) => {
      if (index === 4) throw lost;
    });
    const model = await load({ sequences: 3, queue: 1 }, backend);
    const texts = PROMPTS.slice(0, 3).map((prompt) => codeOf(() => write(model, prompt, { maxTokens: 20 })));
    const waiting = write(model, 'Hello');
    expect(await Promise.all(texts)).toEqual(new Array(3).fill('BACKEND_DEVICE_LOST'));
    const after = await waiting;
    expect(after.finish.cachedTokens).toBe(0);
    expect(after.tokens).toEqual((await write(await load(), 'Hello')).tokens);
  });

  it('end when the model is disposed of, those that wait too', async () => {
    const model = await load({ sequences: 1, queue: 1 });
    const held = await begin(model, 'A');
    const waiting = codeOf(() => write(model, 'B'));
    await model.dispose();
    expect(await waiting).toBe('MODEL_DISPOSED');
    expect(await codeOf(() => held.next())).toBe('MODEL_DISPOSED');
    expect(await codeOf(() => write(model, 'C'))).toBe('MODEL_DISPOSED');
  });

  it('are as many as the backend has caches for', async () => {
    const { maxSequences: _, ...one } = createReferenceBackend();
    await expect(load({ sequences: 2 }, one)).rejects.toMatchObject({
      code: 'MODEL_OPTION',
      where: 'sequences',
      message: '2 sequences were asked for; the reference backend has 1',
    });
    for (const options of [{ sequences: 0 }, { sequences: 1.5 }, { queue: -1 }])
      expect(await codeOf(() => load(options))).toBe('MODEL_OPTION');
  });
});

describe('the beginning of a prompt', () => {
  const chat = 'One two three four';

  it('is not run again where the cache holds it, and the text is the same', async () => {
    const { backend, runs } = watched();
    const model = await load({ reusePrefix: true }, backend);
    const fresh = await load();
    let prompt = model.tokenizer.encode(chat);
    const first = await write(model, { tokens: prompt });
    expect(first.finish).toMatchObject({ promptTokens: prompt.length, cachedTokens: 0 });
    // The last token that was written has not been run.
    const held = prompt.length + first.tokens.length - 1;
    prompt = [...prompt, ...first.tokens, 1, 2, 3];
    const before = runs.length;
    const second = await write(model, { tokens: prompt });
    expect(runs[before]).toEqual([{ sequence: 0, position: held, rows: 4, logits: 'last' }]);
    expect(second.finish).toMatchObject({ promptTokens: prompt.length, cachedTokens: held });
    expect(second.finish.timings.prefillTokens).toBe(4);
    expect(second.tokens).toEqual((await write(fresh, { tokens: prompt })).tokens);
    // The same again: one token is run for its logits.
    const third = await write(model, { tokens: prompt });
    expect(third.finish.cachedTokens).toBe(prompt.length - 1);
    expect(third.tokens).toEqual(second.tokens);
  });

  it('is run again unless asked otherwise where there is one sequence', async () => {
    const model = await load();
    await write(model, chat);
    expect((await write(model, chat)).finish.cachedTokens).toBe(0);
    const several = await load({ sequences: 2, reusePrefix: false });
    await write(several, chat);
    expect((await write(several, chat)).finish.cachedTokens).toBe(0);
  });

  it('is looked for in all free caches; where none has it, the one used longest ago is taken', async () => {
    const { backend, runs } = watched();
    const model = await load({ sequences: 3 }, backend);
    const sequenceOf = async (prompt: Prompt) => {
      const { finish } = await write(model, prompt, { maxTokens: 1 });
      return [runs.at(-1)![0]!.sequence, finish.cachedTokens];
    };
    // Without BOS, which all texts would share.
    const ids = (text: string) => ({ tokens: model.tokenizer.encode(text, { bos: false }) });
    expect(await sequenceOf(ids('aaaa'))).toEqual([0, 0]);
    expect(await sequenceOf(ids('bbbb'))).toEqual([1, 0]);
    expect(await sequenceOf(ids('cccc'))).toEqual([2, 0]);
    expect(await sequenceOf(ids('bbbbdd'))).toEqual([1, 4]);
    expect(await sequenceOf(ids('eeee'))).toEqual([0, 0]);
    expect(await sequenceOf(ids('ccxx'))).toEqual([2, 2]);
    expect(await sequenceOf(ids('bbbbdf'))).toEqual([1, 5]);
    const holder = await begin(model, ids('bbbbdd'));
    expect((await sequenceOf(ids('bbbbdd')))[0]).not.toBe(1);
    await holder.return?.();
  });

  it('is what forward left behind, but not beyond a gap', async () => {
    const model = await load({ reusePrefix: true });
    const tokens = model.tokenizer.encode(chat);
    await model.forward(tokens.slice(0, 9));
    await model.forward([7], { position: 4 });
    await model.forward([8], { position: 12 });
    const wanted = (await write(await load(), { tokens })).tokens;
    const { tokens: found, finish } = await write(model, { tokens });
    expect(finish.cachedTokens).toBe(4);
    expect(found).toEqual(wanted);
  });
});

describe('rows beside each other', () => {
  const MODELS = [
    { seed: 96, linear: 'w11', embedding: 'int8' },
    { seed: 97, linear: 'w11', embedding: 'int4', rotated: () => true },
    { seed: 98, linear: 'f16', embedding: 'f32' },
  ] as const;
  it.each(MODELS)('change no bit on reference and wasm: %o', async (options) => {
    for (const backend of [
      createReferenceBackend(),
      await createWasmBackend(),
      await createWasmBackend({ relaxedSimd: false, threads: 2 }),
    ]) {
      await demandRowInvariance(backend, options);
      await backend.dispose();
    }
  });
});
