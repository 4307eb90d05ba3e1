// A model in a worker, both sides in one thread over a real MessageChannel: what it gives is what the model gives, errors cross whole,
// events do not pile up, loops can be left, and a lost worker ends all that waits with one error.
import {
  createModel,
  createReferenceBackend,
  type GenerationEvent,
  type Grammars,
  type Model,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import type { WorkerModel } from '../web-model.ts';
import { loadModelInWorker } from './client.ts';
import { MOST_AHEAD } from './protocol.ts';
import { type Load, serveModels } from './server.ts';

const source = makeTinyModel({
  seed: 7,
  linear: 'w11',
  embedding: 'int8',
  architecture: { contextLength: 160 },
});
const OPTIONS = { maxTokens: 40, ignoreEos: true, temperature: 0.8, seed: 3 };

/** A Worker as far as the page sees it, whose script serves models by `load`. */
class FakeWorker extends EventTarget {
  readonly #scope = new EventTarget();

  constructor(load: Load, grammars?: Grammars) {
    super();
    serveModels(this.#scope, { load, grammars });
  }

  postMessage(data: unknown, transfer: unknown = []): void {
    const ports = transfer as MessagePort[];
    this.#scope.dispatchEvent(new MessageEvent('message', { data: structuredClone(data), ports }));
  }
}

const asWorkerModel = (model: Model): WorkerModel => model as unknown as WorkerModel;
const makeModel = (): Promise<Model> => createModel(source, createReferenceBackend(), { contextLength: 160 });
/** Serves models made here, which `made` lets tests look at. */
function startWorker(load?: Load): { worker: FakeWorker; made: Model[] } {
  const made: Model[] = [];
  const worker = new FakeWorker(
    load ??
      (async () => {
        const model = await makeModel();
        made.push(model);
        return asWorkerModel(model);
      }),
  );
  return { worker, made };
}

async function take(events: AsyncIterable<GenerationEvent>): Promise<GenerationEvent[]> {
  const all: GenerationEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** Timings are never the same twice. */
const untimed = (events: GenerationEvent[]): unknown[] =>
  events.map((event) => (event.kind === 'finish' ? { ...event, timings: null } : event));

const errorOf = async (act: Promise<unknown>): Promise<unknown> =>
  act.then(() => null).catch((error) => error);
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('a model in a worker', () => {
  it('has the facts and gives the events of the model', async () => {
    const { worker, made } = startWorker();
    const model = await loadModelInWorker(worker, 'model.duo');
    const local = await makeModel();
    const { name, architecture, weightBytes, hasTokenizer, hasChatTemplate, kv, threads } = local;
    expect(model).toMatchObject({
      name,
      architecture,
      weightBytes,
      hasTokenizer,
      hasChatTemplate,
      kv,
      threads,
    });
    for (const prompt of ['Once', [{ role: 'user', content: 'Hi' }], { tokens: [256, 72] }])
      expect(untimed(await take(model.generate(prompt, OPTIONS)))).toEqual(
        untimed(await take(local.generate(prompt, OPTIONS))),
      );
    const answer = await model.chat.completions.create({
      messages: [{ role: 'user', content: 'Hi' }],
      max_tokens: 5,
      seed: 3,
    });
    expect(answer.usage.completion_tokens).toBeGreaterThan(0);
    await model.dispose();
    await model.dispose();
    expect(await errorOf(made[0]!.forward([1]))).toMatchObject({ code: 'MODEL_DISPOSED' });
    expect(await errorOf(take(model.generate('Once')))).toMatchObject({
      code: 'MODEL_DISPOSED',
      source: name,
    });
  });

  it('passes progress, notices and options on, and nothing else', async () => {
    const seen: unknown[] = [];
    const { worker } = startWorker(async (from, { onProgress, onNotice, signal: _, ...options }) => {
      seen.push(from, options);
      onProgress?.({ bytes: 1, totalBytes: 2, cached: 0 });
      onNotice?.('note: something');
      return asWorkerModel(await makeModel());
    });
    const model = await loadModelInWorker(worker, 'https://example.org/model.duo', {
      backend: 'wasm',
      contextLength: 12,
      onProgress: (progress) => seen.push(progress),
      onNotice: (line) => seen.push(line),
    });
    const progress = { bytes: 1, totalBytes: 2, cached: 0 };
    const options = { backend: 'wasm', contextLength: 12 };
    expect(seen).toEqual(['https://example.org/model.duo', options, progress, 'note: something']);
    await model.dispose();
    const open = createReferenceBackend() as unknown as 'wasm';
    expect(await errorOf(loadModelInWorker(worker, 'model.duo', { backend: open }))).toMatchObject({
      code: 'MODEL_OPTION',
      where: 'options',
    });
  });

  it('hands errors over with code, place, remedy and cause', async () => {
    const thrown = new DuobitError('CHUNK_HASH', 'chunk 3 is damaged', {
      source: 'model.duo',
      where: 'segment "a"',
      remedy: 'Get it again',
      cause: new TypeError('inner'),
    });
    const { worker } = startWorker(() => Promise.reject(thrown));
    const error = await errorOf(loadModelInWorker(worker, 'model.duo'));
    expect(error).toBeInstanceOf(DuobitError);
    expect(error).toMatchObject({
      ...{ code: 'CHUNK_HASH', message: 'chunk 3 is damaged', source: 'model.duo', where: 'segment "a"' },
      ...{ remedy: 'Get it again', stack: thrown.stack, cause: { name: 'TypeError', message: 'inner' } },
    });
  });

  it('refuses bad options at once, and a prompt with the first event', async () => {
    const model = await loadModelInWorker(startWorker().worker, 'model.duo');
    expect(() => model.generate('Once', { topP: 2 })).toThrow(/topP is 2/);
    expect(await errorOf(take(model.generate('x'.repeat(500))))).toMatchObject({ code: 'CONTEXT_TOO_LONG' });
    await model.dispose();
  });

  it('holds output to grammars where the worker has them', async () => {
    const load: Load = async () => asWorkerModel(await makeModel());
    const asked: unknown[] = [];
    // Lets nothing but one letter come, three times.
    const grammars: Grammars = {
      async createConstraint(grammar, { size }) {
        asked.push(grammar);
        let left = 3;
        const mask = new Int32Array(Math.ceil(size / 32));
        mask[65 >> 5]! |= 1 << (65 & 31);
        return {
          allowed: async () => (left > 0 ? mask : null),
          accept: () => void left--,
          dispose: () => {},
        };
      },
    };
    const model = await loadModelInWorker(new FakeWorker(load, grammars), 'model.duo');
    const answer = await model.chat.completions.create({
      messages: [{ role: 'user', content: 'Hi' }],
      response_format: { type: 'json_object' },
      logprobs: true,
    });
    expect(answer.choices[0]).toMatchObject({ message: { content: 'AAA' }, finish_reason: 'stop' });
    expect(answer.choices[0]!.logprobs!.content.map(({ bytes }) => bytes)).toEqual([[65], [65], [65]]);
    expect(asked).toEqual([{ kind: 'json-object' }]);
    await model.dispose();
    const without = await loadModelInWorker(new FakeWorker(load), 'model.duo');
    const grammar = { kind: 'json-object' } as const;
    expect(() => without.generate('Hi', { grammar })).toThrow(expect.objectContaining({ where: 'grammar' }));
    await without.dispose();
  });

  it('stays at most so many events ahead of a slow page, and misses none', async () => {
    let produced = 0;
    const { worker } = startWorker(async () => {
      const model = await makeModel();
      const generate: Model['generate'] = async function* (prompt, options) {
        for await (const event of Model.generate(prompt, options)) {
          produced++;
          yield event;
        }
      };
      const Model = { generate: model.generate.bind(model) };
      return asWorkerModel(Object.assign(model, { generate }));
    });
    const model = await loadModelInWorker(worker, 'model.duo');
    let taken = 0;
    for await (const _ of model.generate('Once', { maxTokens: 100, ignoreEos: true })) {
      taken++;
      if (taken === 1) await expect.poll(() => produced).toBe(MOST_AHEAD);
      if (taken % 30 === 1) await pause(20);
      expect(produced).toBeLessThanOrEqual(taken + MOST_AHEAD);
    }
    expect([taken, produced]).toEqual([101, 101]);
    await model.dispose();
  });

  it('ends with reason aborted, also when the page has stopped taking', async () => {
    const model = await loadModelInWorker(startWorker().worker, 'model.duo');
    const controller = new AbortController();
    const events: GenerationEvent[] = [];
    for await (const event of model.generate('Once', {
      maxTokens: 120,
      ignoreEos: true,
      signal: controller.signal,
    })) {
      events.push(event);
      if (events.length === 3) {
        await pause(50);
        controller.abort();
      }
    }
    expect(events.length).toBeLessThan(3 + MOST_AHEAD);
    expect(events.at(-1)).toMatchObject({ kind: 'finish', reason: 'aborted', tokens: events.length - 1 });
    const before = await take(model.generate('Once', { signal: AbortSignal.abort() }));
    expect(before).toMatchObject([{ kind: 'finish', reason: 'aborted', tokens: 0 }]);
    await model.dispose();
  });

  it('is free as soon as a loop was left', async () => {
    const model = await loadModelInWorker(startWorker().worker, 'model.duo');
    for (let round = 0; round < 3; round++)
      for await (const _ of model.generate('Once', { maxTokens: 120, ignoreEos: true })) break;
    const other = model.generate('Once', OPTIONS)[Symbol.asyncIterator]();
    await other.next();
    expect(await errorOf(take(model.generate('Once')))).toMatchObject({ code: 'MODEL_BUSY' });
    await other.return!();
    expect(await take(model.generate('Once', OPTIONS))).toHaveLength(41);
    await model.dispose();
  });

  it('ends what runs when it is disposed', async () => {
    const model = await loadModelInWorker(startWorker().worker, 'model.duo');
    const running = errorOf(take(model.generate('Once', { maxTokens: 120, ignoreEos: true })));
    await pause(1);
    await model.dispose();
    expect(await running).toMatchObject({ code: 'MODEL_DISPOSED' });
  });

  it('lives beside others of the same worker', async () => {
    const { worker } = startWorker();
    const [first, second] = await Promise.all([
      loadModelInWorker(worker, 'model.duo'),
      loadModelInWorker(worker, 'model.duo'),
    ]);
    const expected = untimed(await take(first.generate('Once', OPTIONS)));
    const both = await Promise.all([
      take(first.generate('Once', OPTIONS)),
      take(second.generate('Once', OPTIONS)),
    ]);
    expect(both.map(untimed)).toEqual([expected, expected]);
    await first.dispose();
    expect(untimed(await take(second.generate('Once', OPTIONS)))).toEqual(expected);
    await second.dispose();
  });

  it('stops loading when asked to', async () => {
    const { worker } = startWorker(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => reject(new DuobitError('ABORTED', 'loading was stopped')));
        }),
    );
    const controller = new AbortController();
    const loading = loadModelInWorker(worker, 'model.duo', { signal: controller.signal });
    await pause(5);
    controller.abort();
    expect(await errorOf(loading)).toMatchObject({ code: 'ABORTED' });
    expect(await errorOf(loadModelInWorker(worker, 'm.duo', { signal: AbortSignal.abort() }))).toMatchObject({
      code: 'ABORTED',
    });
  });

  it('gives one clear error for all that waits when the worker is lost', async () => {
    const { worker } = startWorker();
    const model = await loadModelInWorker(worker, 'model.duo');
    const running = errorOf(take(model.generate('Once', { maxTokens: 120, ignoreEos: true })));
    const never = loadModelInWorker(new FakeWorker(() => new Promise(() => {})), 'model.duo');
    const lost = { code: 'WORKER_LOST', message: 'the worker failed: out of memory', where: 'worker' };
    worker.dispatchEvent(Object.assign(new Event('error'), { message: 'out of memory' }));
    expect(await running).toMatchObject(lost);
    expect(await errorOf(take(model.generate('Once')))).toMatchObject(lost);
    await model.dispose();
    expect(await Promise.race([never, pause(10)])).toBeUndefined();
  });

  it('says that the script of the worker cannot be loaded', async () => {
    const { worker } = startWorker(() => new Promise(() => {}));
    const loading = loadModelInWorker(worker, 'model.duo');
    worker.dispatchEvent(new Event('error'));
    expect(await errorOf(loading)).toMatchObject({
      code: 'WORKER_LOST',
      message: 'the script of the worker cannot be loaded',
    });
  });
});
