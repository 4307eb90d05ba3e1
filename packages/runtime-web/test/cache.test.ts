// Models that were loaded from a URL are stored in Chromium's origin private file system: what a second load reads, what is found
// again and what is not, in pages and in workers.
import { findChromium, launchChromium, type RangeServer } from '@duobit/testkit/chromium';
import type { Browser, BrowserContext } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeContainer, makeLargeContainer, shard, startBench, Tab } from './loading/bench.ts';

const command = findChromium();

/** Where files are written in one way, and in the other. */
const THREADS = [
  ["a page's own thread", false],
  ['a worker', true],
] as const;

describe.skipIf(!command)('the cache in Chromium', () => {
  let browser: Browser;
  let server: RangeServer;
  let context: BrowserContext;
  let large: Uint8Array;
  const open = (inWorker = false) => Tab.open(context, server.url, inWorker);
  const at = (name: string) => `${server.url}${name}`;
  const requestsFor = (path: string) => server.requests.filter((request) => request.path === path);

  beforeAll(async () => {
    server = await startBench();
    large = await makeLargeContainer();
    server.files.set('large.duo', { body: large });
    for (const [name, body] of Object.entries(await shard('sharded.duo', large, 10 << 20)))
      server.files.set(name, { body });
    browser = await launchChromium(command!);
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });
  beforeEach(async () => {
    server.reset();
    context = await browser.newContext();
  });
  afterEach(() => context.close());

  it.each(THREADS)(
    'has a second load ask for 128 bytes only, in another tab too, on %s',
    async (_, inWorker) => {
      const tab = await open(inWorker);
      const first = await tab.call('load', { url: at('large.duo') });
      expect(first).toMatchObject({ error: null, notices: [] });
      expect(first.progress).toEqual({ bytes: large.length, totalBytes: large.length, cached: 0 });
      // The probe, the header, and one request for all the rest.
      expect(requestsFor('large.duo').map(({ range }) => range)).toEqual([
        'bytes=0-127',
        expect.stringMatching(/^bytes=128-\d+$/),
        `bytes=16384-${large.length - 1}`,
      ]);
      expect(server.bytesSent('large.duo')).toBe(large.length);

      await tab.page.close();
      server.reset();
      const second = await (await open(inWorker)).call('load', { url: at('large.duo') });
      expect(second.logits).toEqual(first.logits);
      expect(second.progress).toEqual({
        bytes: large.length,
        totalBytes: large.length,
        cached: large.length,
      });
      expect(requestsFor('large.duo').map(({ range }) => range)).toEqual(['bytes=0-127']);
    },
  );

  it('knows a model by what it is: at another address, with another ETag', async () => {
    const tab = await open();
    await tab.call('load', { url: at('embedded.duo') });
    const { body } = server.files.get('embedded.duo')!;
    server.files.set('moved.duo', { body, etag: '"another"' });
    server.reset();
    const moved = await tab.call('load', { url: at('moved.duo?token=secret') });
    expect(moved.progress?.cached).toBe(body.length);
    expect(server.bytesSent('moved.duo')).toBe(128);
    const models = await tab.call('list');
    expect(models).toHaveLength(1);
    expect(models[0]).toMatchObject({ name: 'moved.duo', url: at('moved.duo'), complete: true });
  });

  it('puts a new model in the place of the one that was at its address, when it is complete', async () => {
    const [old, newer] = [await makeContainer({ seed: 1 }), await makeContainer({ seed: 2 })];
    server.files.set('model.duo', { body: old });
    const tab = await open();
    const before = await tab.call('load', { url: at('model.duo') });
    server.files.set('model.duo', { body: newer });
    await tab.call('load', { url: at('model.duo'), abortAt: 20_000 });
    expect(await tab.call('list')).toHaveLength(2);
    const after = await tab.call('load', { url: at('model.duo') });
    expect(after.logits).not.toEqual(before.logits);
    const models = await tab.call('list');
    expect(models.map(({ complete }) => complete)).toEqual([true]);
    server.reset();
    expect((await tab.call('load', { url: at('model.duo') })).logits).toEqual(after.logits);
    expect(server.bytesSent('model.duo')).toBe(128);
  });

  it('loads without a server once complete, and says so', async () => {
    const tab = await open();
    const first = await tab.call('load', { url: at('embedded.duo') });
    server.faults.offline = true;
    const second = await tab.call('load', { url: at('embedded.duo') });
    expect(second.logits).toEqual(first.logits);
    expect(second.notices).toEqual([
      expect.stringMatching(
        /^note: the stored model is used, without asking the server whether it has changed/,
      ),
    ]);
    server.requests.length = 0;
    await context.setOffline(true);
    const third = await tab.call('load', { url: at('embedded.duo') });
    expect(third.logits).toEqual(first.logits);
    expect(server.requests).toEqual([]);
  });

  it.each(THREADS)('fetches stored bytes that were changed or cut off again, on %s', async (_, inWorker) => {
    const tab = await open(inWorker);
    const first = await tab.call('load', { url: at('large.duo') });
    const files = await tab.call('files');
    const folder = Object.keys(files)[0]!.replace(/[^/]*$/, '');
    await tab.call('damage', `${folder}1`);
    await tab.call('damage', `${folder}3`);
    await tab.call('damage', `${folder}2`, 100);
    server.reset();
    const second = await tab.call('load', { url: at('large.duo') });
    expect(second.logits).toEqual(first.logits);
    expect(second.notices).toEqual(['note: a part of the stored model was damaged; it is fetched again']);
    const lengths = [1, 2, 3].reduce((sum, chunk) => sum + files[`${folder}${chunk}`]!, 0);
    expect(server.bytesSent('large.duo')).toBe(lengths + 128 * 2);
    server.reset();
    const third = await tab.call('load', { url: at('large.duo') });
    expect(third.notices).toEqual([]);
    expect(server.bytesSent('large.duo')).toBe(128);
    // The header has a hash too.
    await tab.call('damage', `${folder}header`);
    expect((await tab.call('load', { url: at('large.duo') })).logits).toEqual(first.logits);
    expect((await tab.call('files'))[`${folder}header`]).toBe(files[`${folder}header`]);
  });

  it('keeps a model in several files, and does not open these again', async () => {
    const tab = await open();
    const first = await tab.call('load', { url: at('sharded.duo') });
    expect(first).toMatchObject({ error: null, notices: [] });
    const names = [...server.files.keys()].filter((name) => name.startsWith('sharded'));
    expect(names).toHaveLength(3);
    const size = names.reduce((sum, name) => sum + server.files.get(name)!.body.length, 0);
    expect(first.progress).toEqual({ bytes: size, totalBytes: size, cached: 0 });
    server.reset();
    const second = await tab.call('load', { url: at('sharded.duo') });
    expect(second.logits).toEqual(first.logits);
    expect(server.requests.map(({ path, range }) => `${path} ${range}`)).toEqual(['sharded.duo bytes=0-127']);
  });

  it('stores nothing when told so, nor what is no model', async () => {
    const tab = await open();
    await tab.call('load', { url: at('embedded.duo'), cache: 'none' });
    server.files.set('text.duo', { body: 'not a model, whatever its name says'.repeat(20) });
    const { error } = await tab.call('load', { url: at('text.duo') });
    expect(error?.code).toBe('CONTAINER_MAGIC');
    expect(await tab.call('files')).toEqual({});
  });

  it.each(THREADS)(
    'lists models, the one used last first, sums them up and removes one, on %s',
    async (_, inWorker) => {
      const tab = await open(inWorker);
      await tab.call('load', { url: at('embedded.duo') });
      await tab.call('load', { url: at('large.duo'), abortAt: 6 << 20 });
      const [partial, complete] = await tab.call('list');
      const size = server.files.get('embedded.duo')!.body.length;
      expect(complete).toMatchObject({ name: 'embedded.duo', complete: true });
      expect(complete!.bytes).toBe(complete!.totalBytes);
      // Padding between segments is not stored.
      expect(size - complete!.bytes).toBeLessThan(5 * 16_384);
      expect(partial).toMatchObject({ name: 'large.duo', complete: false });
      expect(partial!.bytes).toBeGreaterThan(4 << 20);
      expect(partial!.bytes).toBeLessThan(partial!.totalBytes);
      const usage = await tab.call('usage');
      expect(usage.bytes).toBe(partial!.bytes + complete!.bytes);
      expect(usage.quota).toBeGreaterThan(usage.usage!);
      expect(typeof (await tab.call('persist'))).toBe('boolean');
      expect(await tab.call('remove', partial!.id)).toBeNull();
      expect((await tab.call('list')).map(({ name }) => name)).toEqual(['embedded.duo']);
      expect(await tab.call('remove', partial!.id)).toBeNull();
    },
  );
});
