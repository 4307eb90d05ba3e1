// Models in Chromium: on the page's own thread and in the ready worker, on WebGPU and on wasm, with threads and without, they write the
// text of the reference backend; they stop when asked to, free what they held, and survive lost devices.
import { createModel, createReferenceBackend } from '@duobit/core';
import { createMemorySource, openContainer } from '@duobit/format';
import { findChromium, launchChromium, type RangeServer } from '@duobit/testkit/chromium';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpenPage, openPage, readEmbedded, startBench } from './bench.ts';
import type { Actions, LoadRequest } from './entry.ts';

type ModelPage = OpenPage<Actions>;

const command = findChromium();
const SEEDED = { temperature: 0.8, topK: 40, seed: 5, maxTokens: 30 };
/** SwiftShader takes seconds to compile a kernel, and small runs need fewer of them. */
const ON_GPU = { kv: 'f32', maxRows: 4 } as const;
const LOST = /^note: the GPU device was lost: .+; loading the model again$/;

/** 64 tokens, greedily, of the embedded model on the reference backend. */
async function writeReference(): Promise<{ tokens: number[]; text: string }> {
  const container = await openContainer(createMemorySource(await readEmbedded()));
  const model = await createModel(container, createReferenceBackend());
  const tokens: number[] = [];
  let text = '';
  for await (const event of model.generate('Once upon a time', { maxTokens: 64, ignoreEos: true })) {
    if (event.kind === 'token') tokens.push(event.token);
    text += event.text;
  }
  return { tokens, text };
}

describe.skipIf(command === null)('models in Chromium', { timeout: 120_000 }, () => {
  let withGpu: Browser;
  let withoutGpu: Browser;
  let server: RangeServer;
  let plain: RangeServer;
  let expected: { tokens: number[]; text: string };

  beforeAll(async () => {
    const scripts = ['entry.ts', 'worker.ts'];
    [withGpu, withoutGpu, server, plain, expected] = await Promise.all([
      launchChromium(command!, { webgpu: true }),
      launchChromium(command!),
      startBench(scripts),
      startBench(scripts, { isolated: false }),
      writeReference(),
    ]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all([withGpu, withoutGpu, server, plain].map((part) => part?.close()));
  });

  async function withPage(
    use: (page: ModelPage) => Promise<void>,
    { browser = withGpu, from = server }: { browser?: Browser; from?: RangeServer } = {},
  ): Promise<void> {
    const page = await openPage<Actions>(browser, from);
    try {
      await use(page);
      expect(page.complaints).toEqual([]);
    } finally {
      await page.close();
    }
  }

  async function load({ call }: ModelPage, request: LoadRequest): Promise<{ id: number; threads: number }> {
    const { error, ...loaded } = await call('load', request);
    expect(error).toBeNull();
    return { id: loaded.id, threads: loaded.threads! };
  }

  for (const where of ['page', 'worker'] as const) {
    it(`write the text of the reference backend on webgpu, and go on with it when the device is lost, ${where}`, () =>
      withPage(async (page) => {
        // Read again from the network, and from what is stored.
        const cache = where === 'page' ? 'none' : 'opfs';
        const { id, ...loaded } = await page.call('load', { where, cache, ...ON_GPU });
        expect(loaded).toMatchObject({ backendName: 'webgpu', notices: [], error: null });
        expect(await page.call('write', { id, maxTokens: 64 })).toMatchObject({
          ...expected,
          reason: 'length',
        });
        const seeded = await page.call('write', { id, ...SEEDED });
        const held = await page.call('buffers');
        expect(held).toBeGreaterThan(10);
        const sent = server.bytesSent('embedded.duo');
        const event = 'lose devices';
        expect(await page.call('write', { id, ...SEEDED, at: 20, event })).toEqual(seeded);
        expect(await page.call('notices', id)).toEqual([expect.stringMatching(LOST)]);
        expect(await page.call('buffers')).toBe(held);
        expect(server.bytesSent('embedded.duo') > sent).toBe(cache === 'none');
        // Again within a minute: one clear error.
        const lost = await page.call('write', { id, maxTokens: 64, at: 10, event });
        expect(lost.tokens).toEqual(expected.tokens.slice(0, lost.tokens.length));
        expect(lost.error).toMatchObject({ name: 'DuobitError', code: 'BACKEND_DEVICE_LOST' });
        expect(lost.error!.message).toMatch(/again after \d+\.\d s$/);
        await page.call('dispose', id);
      }));

    for (const isolated of [true, false])
      it(`write the text of the reference backend on wasm, ${where}, ${isolated ? 'isolated' : 'not isolated'}`, () =>
        withPage(
          async (page) => {
            expect(await page.call('isIsolated')).toBe(isolated);
            const loaded = await page.call('load', { where, threads: 2 });
            expect(loaded).toMatchObject({ backendName: 'wasm', threads: isolated ? 2 : 1, error: null });
            expect(loaded.notices).toEqual([
              expect.stringMatching(/^note: WebGPU is not available, using wasm \(.+\)$/),
            ]);
            expect(await page.call('write', { id: loaded.id, maxTokens: 64 })).toMatchObject(expected);
          },
          { browser: withoutGpu, from: isolated ? server : plain },
        ));
  }

  it('answer chats, the same in page and worker, whole and streamed', () =>
    withPage(async (page) => {
      const answers = [];
      for (const where of ['page', 'worker'] as const) {
        const { id } = await load(page, { where, from: 'chat.duo', backend: 'wasm' });
        answers.push(await page.call('chat', { id, content: 'Hello' }));
      }
      const [first, second] = answers;
      expect(first!.usage).toMatchObject({ completion_tokens: 12 });
      expect(first!.streamed).toBe(first!.whole);
      expect(second).toEqual(first);
      const { id } = await load(page, { where: 'worker', backend: 'wasm' });
      await expect(page.call('chat', { id, content: 'Hello' })).rejects.toThrow(/no chat template/);
    }));

  it('stop when asked to, and are free when a loop was left', () =>
    withPage(async (page) => {
      const { id } = await load(page, { where: 'worker', backend: 'wasm' });
      const stopped = await page.call('write', { id, maxTokens: 500, at: 5, event: 'abort' });
      expect(stopped).toMatchObject({ reason: 'aborted', error: null });
      expect(stopped.tokens.length).toBeLessThan(100);
      for (const at of [1, 30])
        expect(await page.call('write', { id, maxTokens: 500, at, event: 'leave' })).toMatchObject({
          reason: null,
          tokens: { length: at },
        });
      expect(await page.call('write', { id, maxTokens: 5 })).toMatchObject({ reason: 'length' });
    }));

  it('come and go in turn, and leave no buffer', () =>
    withPage(async (page) => {
      const held: number[] = [];
      for (const where of ['worker', 'worker'] as const) {
        const { id } = await load(page, { where, ...ON_GPU });
        await page.call('write', { id, maxTokens: 3 });
        held.push(await page.call('buffers'));
        await page.call('dispose', id);
        expect(await page.call('buffers')).toBe(0);
      }
      expect(held[0]).toBeGreaterThan(10);
      expect(new Set(held).size).toBe(1);
    }));

  it('live beside each other in one worker', () =>
    withPage(async (page) => {
      const first = await load(page, { where: 'worker', backend: 'wasm', threads: 2 });
      const second = await load(page, { where: 'worker', backend: 'wasm', threads: 1 });
      const texts = await Promise.all(
        [first, second].map(({ id }) => page.call('write', { id, maxTokens: 64 })),
      );
      expect(texts.map(({ tokens }) => tokens)).toEqual([expected.tokens, expected.tokens]);
      await page.call('dispose', first.id);
      expect(await page.call('write', { id: second.id, maxTokens: 64 })).toMatchObject(expected);
    }));

  it('survive the end of the whole GPU process', async () => {
    const browser = await launchChromium(command!, { webgpu: true });
    try {
      const page = await openPage<Actions>(browser, server);
      const { id } = await load(page, { where: 'worker', ...ON_GPU });
      const undisturbed = await page.call('write', { id, maxTokens: 60 });
      const disturbed = page.call('write', { id, maxTokens: 60 });
      const session = await browser.newBrowserCDPSession();
      await session.send('Browser.crashGpuProcess').catch(() => {});
      expect(await disturbed).toEqual(undisturbed);
      expect(await page.call('notices', id)).toEqual([expect.stringMatching(LOST)]);
    } finally {
      await browser.close();
    }
  });

  it('end with one clear error when the worker does', () =>
    withPage(async (page) => {
      const { id } = await load(page, { where: 'worker', backend: 'wasm' });
      const ended = await page.call('write', { id, maxTokens: 500, at: 3, event: 'end worker' });
      const error = {
        name: 'DuobitError',
        code: 'WORKER_LOST',
        message: 'the worker ended',
        where: 'worker',
      };
      expect(ended.error).toMatchObject(error);
      expect((await page.call('write', { id })).error).toMatchObject(error);
      await page.call('dispose', id);
    }));

  it('say so when the script of the worker is not there', () =>
    withPage(async (page) => {
      const { error } = await page.call('load', { where: 'worker', script: 'nowhere.js' });
      expect(error).toMatchObject({
        code: 'WORKER_LOST',
        message: 'the script of the worker cannot be loaded',
      });
      page.complaints.length = 0;
    }));

  it('hand the errors of loading over, whole', () =>
    withPage(async (page) => {
      const inPage = await page.call('load', { where: 'page', from: 'nowhere.duo' });
      const inWorker = await page.call('load', { where: 'worker', from: 'nowhere.duo' });
      expect(inWorker.error).toMatchObject({ name: 'DuobitError', code: 'SOURCE_MISSING' });
      expect(inWorker.error).toEqual(inPage.error);
      page.complaints.length = 0;
    }));
});
