// Lost devices, played by a backend that loses its program's cache at a chosen call: the text goes on as if nothing had been, told of
// once; a second loss and a reload that fails end with one error, and nothing is left behind.
import {
  type Backend,
  buildPlan,
  createModel,
  createReferenceBackend,
  type GenerateOptions,
  type Model,
  type Program,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createRecoveringBackend } from './recovery.ts';

const source = makeTinyModel({
  seed: 7,
  linear: 'w11',
  embedding: 'int8',
  architecture: { contextLength: 96 },
});
const GREEDY = { maxTokens: 40, ignoreEos: true };
const SEEDED = { ...GREEDY, temperature: 0.9, topK: 40, repetitionPenalty: 1.1, seed: 11 };
const LOSS = 'the GPU device was lost: unplugged';

/** Devices that are lost: each entry says at which call of its programs; all later calls fail too. */
function openLossy(lostAt: readonly number[]) {
  let opened = 0;
  const alive = new Set<object>();
  const requests: string[] = [];
  const open = async (): Promise<Backend> => {
    const limit = lostAt[opened++] ?? Number.POSITIVE_INFINITY;
    const inner = createReferenceBackend();
    alive.add(inner);
    let calls = 0;
    const call = async <T>(act: () => Promise<T>): Promise<T> => {
      if (++calls >= limit) throw new DuobitError('BACKEND_DEVICE_LOST', LOSS);
      return act();
    };
    return {
      ...inner,
      name: 'lossy',
      prepare: async (...parts) => {
        const program = await call(() => inner.prepare(...parts));
        alive.add(program);
        const lossy: Program = {
          weightBytes: program.weightBytes,
          write: (...values) => call(() => program.write(...values)),
          run: (request) => {
            requests.push(`${opened}: ${request.position}+${request.rows} ${request.logits}`);
            return call(() => program.run(request));
          },
          read: (slot) => call(() => program.read(slot)),
          dispose: async () => {
            alive.delete(program);
            await program.dispose();
          },
        };
        return lossy;
      },
      dispose: async () => {
        alive.delete(inner);
      },
    };
  };
  return { open, alive, requests, opened: () => opened };
}

async function write(model: Model, options: GenerateOptions): Promise<string> {
  let text = '';
  for await (const event of model.generate('Once upon a time', options))
    text += event.kind === 'token' ? `${event.token} ` : event.reason;
  return text;
}

async function expectedText(options: GenerateOptions): Promise<string> {
  const model = await createModel(source, createReferenceBackend(), { maxRows: 8 });
  return write(model, options);
}

const errorOf = async (act: Promise<unknown>): Promise<unknown> =>
  act.then(() => null).catch((error) => error);

async function withModel(
  lostAt: readonly number[],
  use: (
    model: Model,
    lossy: ReturnType<typeof openLossy>,
    notices: string[],
    clock: { now: number },
  ) => unknown,
): Promise<void> {
  const lossy = openLossy(lostAt);
  const notices: string[] = [];
  const clock = { now: 1000 };
  const backend = await createRecoveringBackend(lossy.open, {
    onNotice: (line) => notices.push(line),
    now: () => clock.now,
  });
  const model = await createModel(source, backend, { maxRows: 8 });
  await use(model, lossy, notices, clock);
  await model.dispose();
  await backend.dispose();
  expect(lossy.alive.size).toBe(0);
}

describe('a backend that recovers', () => {
  // Loading is call 1; a prompt of 16 tokens and more is three runs of at most 8 rows; each token is a write, a run and a read.
  for (const [name, options] of Object.entries({ greedy: GREEDY, seeded: SEEDED }))
    it(`goes on with the same ${name} text, wherever the device was lost`, async () => {
      const expected = await expectedText(options);
      for (const lostAt of [2, 3, 5, 8, 9, 10, 60, 61, 62, 118])
        await withModel([lostAt], async (model, { opened }, notices) => {
          expect(await write(model, options)).toBe(expected);
          expect(opened()).toBe(2);
          expect(notices).toEqual([`note: ${LOSS}; loading the model again`]);
        });
    });

  it('opens one device for two models that lose theirs together', async () => {
    const lossy = openLossy([40]);
    const notices: string[] = [];
    const backend = await createRecoveringBackend(lossy.open, { onNotice: (line) => notices.push(line) });
    const models = [await createModel(source, backend), await createModel(source, backend)];
    const expected = await expectedText(GREEDY);
    expect(await Promise.all(models.map((model) => write(model, GREEDY)))).toEqual([expected, expected]);
    expect([lossy.opened(), notices.length]).toEqual([2, 1]);
    for (const part of [...models, backend]) await part.dispose();
    expect(lossy.alive.size).toBe(0);
  });

  it('repeats the runs that the cache is made of as they were, and no others', () =>
    withModel([13], async (model, { requests }) => {
      const tokens = [256, 72, 105, 33, 10, 84];
      await model.forward(tokens, { logits: 'none' });
      await model.forward(tokens.slice(0, 3), { position: 2 });
      const expected = await model.forward([70], { position: 5 });
      expect(requests).toHaveLength(3);
      // Lost with the second one's write: preparing and 2 + 3 + 3 + 3 calls come before.
      for (const _ of [1, 2]) expect(await model.forward([70], { position: 5 })).toEqual(expected);
      expect(requests.slice(4)).toEqual(['2: 0+6 none', '2: 2+3 none', '2: 5+1 last', '2: 5+1 last']);
    }));

  it('ends with one error when the device is lost again soon, and tries anew after a minute', () =>
    withModel([20, 40], async (model, { opened }, notices, clock) => {
      const error = await errorOf(
        (async () => {
          clock.now += 3_600_000;
          for await (const event of model.generate('Once upon a time', GREEDY))
            if (event.kind === 'token') clock.now += 1500;
        })(),
      );
      expect(error).toMatchObject({ code: 'BACKEND_DEVICE_LOST', where: 'webgpu backend' });
      expect((error as Error).message).toMatch(new RegExp(`^${LOSS}, again after \\d+\\.\\d s$`));
      expect(await errorOf(write(model, GREEDY))).toMatchObject({ code: 'BACKEND_DEVICE_LOST' });
      expect([opened(), notices.length]).toEqual([2, 1]);
      clock.now += 60_000;
      expect(await write(model, GREEDY)).toBe(await expectedText(GREEDY));
      expect([opened(), notices.length]).toEqual([3, 2]);
    }));

  it('ends with one error when the device is lost while the model is loaded again, and tries anew', () =>
    withModel([20, 3], async (model) => {
      expect(await errorOf(write(model, GREEDY))).toMatchObject({
        code: 'BACKEND_DEVICE_LOST',
        message: `the GPU device was lost, and the model cannot be loaded again: ${LOSS}`,
      });
      expect(await write(model, GREEDY)).toBe(await expectedText(GREEDY));
    }));

  it('ends with one error when there is no device any more', async () => {
    const lossy = openLossy([20]);
    const gone = new DuobitError('BACKEND_UNSUPPORTED', 'WebGPU has no adapter here');
    const backend = await createRecoveringBackend(() =>
      lossy.opened() === 0 ? lossy.open() : Promise.reject(gone),
    );
    const model = await createModel(source, backend, { maxRows: 8 });
    const error = await errorOf(write(model, GREEDY));
    expect(error).toMatchObject({ code: 'BACKEND_DEVICE_LOST', cause: gone });
    await Promise.all([model.dispose(), backend.dispose()]);
    expect(lossy.alive.size).toBe(0);
  });

  it('leaves nothing behind when it is disposed while the model is loaded again', async () => {
    const lossy = openLossy([20]);
    let reopen = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      reopen = resolve;
    });
    let isAsked = (): void => {};
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve;
    });
    const backend = await createRecoveringBackend(async () => {
      if (lossy.opened() === 0) return lossy.open();
      isAsked();
      await waiting;
      return lossy.open();
    });
    const model = await createModel(source, backend, { maxRows: 8 });
    const writing = errorOf(write(model, GREEDY));
    await asked;
    const disposing = [model.dispose(), backend.dispose()];
    reopen();
    await Promise.all(disposing);
    expect(await writing).toMatchObject({ code: 'MODEL_DISPOSED' });
    expect(lossy.alive.size).toBe(0);
  });

  it('leaves other errors and plans that gather statistics alone', async () => {
    const lossy = openLossy([4]);
    const backend = await createRecoveringBackend(lossy.open);
    const program = await backend.prepare(
      buildPlan(source, { statistics: 'gram' }),
      (name) => source.readTensor(name),
      { capacity: 8, maxRows: 8 },
    );
    expect(await errorOf(program.run({ rows: 99, position: 0, logits: 'none' }))).toMatchObject({
      code: 'RUN_INVALID',
    });
    await program.write('tokens', Int32Array.of(1));
    expect(await errorOf(program.run({ rows: 1, position: 0, logits: 'none' }))).toMatchObject({
      code: 'BACKEND_DEVICE_LOST',
      message: LOSS,
    });
    await backend.dispose();
  });
});
