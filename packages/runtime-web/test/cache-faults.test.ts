// Loading from a URL when things go wrong, in Chromium: a server that goes away or falls silent, an abort, a browser that is killed, no
// space left, two tabs at once. What was stored stays, nothing is half stored, and the next load goes on from there.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  findChromium,
  launchChromium,
  launchChromiumProfile,
  type RangeServer,
} from '@duobit/testkit/chromium';
import type { Browser, BrowserContext } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CHUNK, makeLargeContainer, shard, startBench, Tab } from './loading/bench.ts';

const command = findChromium();
/** In the middle of the third of four chunks of 3 to 4 MiB. */
const STALL = 10 << 20;
/** More than there is between segments. */
const PADDING = 6 * 16_384;

async function waitFor(reached: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await reached())) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe.skipIf(!command)('loading in Chromium when things go wrong', () => {
  let browser: Browser;
  let server: RangeServer;
  let context: BrowserContext;
  let large: Uint8Array;
  let logits: readonly number[] | null;
  const open = (inWorker = false) => Tab.open(context, server.url, inWorker);
  const at = (name: string) => `${server.url}${name}`;

  beforeAll(async () => {
    server = await startBench();
    large = await makeLargeContainer();
    server.files.set('large.duo', { body: large });
    for (const [name, body] of Object.entries(await shard('sharded.duo', large, 10 << 20)))
      server.files.set(name, { body });
    browser = await launchChromium(command!);
    context = await browser.newContext();
    ({ logits } = await (await open()).call('load', { url: at('large.duo'), cache: 'none' }));
    await context.close();
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

  const storedBytes = async (tab: Tab, name: string): Promise<number> =>
    (await tab.call('list')).find((model) => model.name === name)?.bytes ?? 0;

  /** Loads again without faults: of what had come, a chunk at most comes again. */
  async function expectResumed(tab: Tab, name: string, received: number): Promise<void> {
    const stored = await storedBytes(tab, name);
    // Of what is received, padding is not stored.
    expect(stored).toBeGreaterThan(received - CHUNK - PADDING);
    expect(stored).toBeLessThan(large.length - CHUNK);
    server.reset();
    const again = await tab.call('load', { url: at(name) });
    expect(again).toMatchObject({ logits, notices: [] });
    expect(again.progress!.cached).toBeGreaterThanOrEqual(stored);
    // Once more: the probe, of each file.
    expect(server.bytesSent()).toBeLessThan(large.length + PADDING - stored);
    expect(server.bytesSent()).toBeGreaterThan(CHUNK);
  }

  /** Starts a load, and waits until the server has stopped sending and what came whole is stored. */
  async function loadUntilStalled(tab: Tab, watcher: Tab): Promise<void> {
    server.faults.stallAfter = STALL;
    tab.call('load', { url: at('large.duo') }).catch(() => {});
    await waitFor(async () => (await storedBytes(watcher, 'large.duo')) > STALL - CHUNK - PADDING);
  }

  it.each(['large.duo', 'sharded.duo'])(
    '%s: a server that goes away ends in one error; the next load goes on',
    async (name) => {
      const tab = await open();
      server.faults.cutAfter = STALL;
      const { error, logits: none, progress } = await tab.call('load', { url: at(name) });
      expect(none).toBeNull();
      expect(error?.code).toBe('HTTP_NETWORK');
      expect(error?.message).toContain('(5 attempts)');
      await expectResumed(tab, name, progress!.bytes);
    },
  );

  it('a connection that breaks for a moment costs nothing', async () => {
    const tab = await open();
    server.faults.bytesPerSecond = 40e6;
    server.faults.cutAfter = STALL;
    const loading = tab.call('load', { url: at('large.duo') });
    await waitFor(() => server.faults.offline);
    server.faults.cutAfter = null;
    server.faults.offline = false;
    const report = await loading;
    expect(report).toMatchObject({ logits, notices: [] });
    // What was on its way when the connection broke is sent twice.
    expect(server.bytesSent('large.duo')).toBeLessThan(large.length + CHUNK);
  });

  it.each([false, true])('an abort keeps what was stored (in a worker: %s)', async (inWorker) => {
    const tab = await open(inWorker);
    server.faults.bytesPerSecond = 40e6;
    const { error, progress } = await tab.call('load', { url: at('large.duo'), abortAt: 9 << 20 });
    expect(error?.code).toBe('ABORTED');
    const [model] = await tab.call('list');
    expect(model!.bytes).toBeGreaterThan(CHUNK);
    expect(model!.complete).toBe(false);
    await expectResumed(tab, 'large.duo', progress!.bytes);
  });

  it.each([false, true])(
    'a page that is closed keeps what was stored (in a worker: %s)',
    async (inWorker) => {
      const [tab, watcher] = [await open(inWorker), await open()];
      await loadUntilStalled(tab, watcher);
      await tab.page.close();
      await expectResumed(await open(inWorker), 'large.duo', STALL);
    },
  );

  it('a browser that is killed keeps what was stored on disk', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'duobit-profile-'));
    try {
      let profile = await launchChromiumProfile(command!, folder);
      const tab = await Tab.open(profile, server.url);
      await loadUntilStalled(tab, await Tab.open(profile, server.url));
      const gone = new Promise((resolve) => profile.once('close', resolve));
      const session = await profile.newCDPSession(tab.page);
      session.send('Browser.crash').catch(() => {});
      await gone;
      profile = await launchChromiumProfile(command!, folder);
      await expectResumed(await Tab.open(profile, server.url), 'large.duo', STALL);
      await profile.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it.each([false, true])(
    'without space it loads, says so, and stores nothing (in a worker: %s)',
    async (inWorker) => {
      const tab = await open(inWorker);
      await tab.call('load', { url: at('embedded.duo') });
      const others = await tab.call('files');
      const session = await context.newCDPSession(tab.page);
      await session.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 5e6 });
      const first = await tab.call('load', { url: at('large.duo') });
      expect(first).toMatchObject({
        logits,
        notices: ['note: the model is not stored: there is no space left'],
      });
      expect(await tab.call('files')).toEqual(others);
      await session.send('Storage.overrideQuotaForOrigin', { origin: server.url });
      const second = await tab.call('load', { url: at('large.duo') });
      expect(second).toMatchObject({ logits, notices: [] });
      expect((await tab.call('list')).every(({ complete }) => complete)).toBe(true);
    },
  );

  it.each([false, true])('space that runs out half-way does no harm (in a worker: %s)', async (inWorker) => {
    const tab = await open(inWorker);
    await tab.call('load', { url: at('embedded.duo') });
    const others = await tab.call('files');
    server.faults.bytesPerSecond = 20e6;
    const session = await context.newCDPSession(tab.page);
    const loading = tab.call('load', { url: at('large.duo') });
    await waitFor(() => server.bytesSent('large.duo') > 6e6);
    await session.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 6e6 });
    const first = await loading;
    expect(first.logits).toEqual(logits);
    expect(first.notices).toEqual(['note: the model is not stored: there is no space left']);
    expect(await tab.call('files')).toEqual(others);
    await session.send('Storage.overrideQuotaForOrigin', { origin: server.url });
    const second = await tab.call('load', { url: at('large.duo') });
    expect(second).toMatchObject({ logits, notices: [] });
  });

  it.each([false, true])(
    'two tabs load the same model with one download (in workers: %s)',
    async (inWorker) => {
      const [one, two] = [await open(inWorker), await open(inWorker)];
      server.faults.bytesPerSecond = 40e6;
      const [first, second] = await Promise.all([
        one.call('load', { url: at('large.duo') }),
        two.call('load', { url: at('large.duo') }),
      ]);
      expect(first).toMatchObject({ logits, notices: [] });
      expect(second).toMatchObject({ logits, notices: [] });
      expect(server.bytesSent('large.duo')).toBeLessThan(large.length + 40_000);
      expect(await one.call('list')).toEqual([expect.objectContaining({ complete: true })]);
    },
  );

  it('a tab that waits for another goes on by itself when that one is closed', async () => {
    const [one, two] = [await open(), await open()];
    server.faults.bytesPerSecond = 10e6;
    one.call('load', { url: at('large.duo') }).catch(() => {});
    await waitFor(() => server.bytesSent('large.duo') > 4e6);
    const loading = two.call('load', { url: at('large.duo') });
    await waitFor(async () => (await storedBytes(two, 'large.duo')) > CHUNK);
    const [model] = await two.call('list');
    expect(await two.call('remove', model!.id)).toBe('CACHE_IN_USE');
    const begun = server.requests.length;
    await one.page.close();
    server.faults.bytesPerSecond = null;
    expect(await loading).toMatchObject({ logits, notices: [] });
    const sentAfter = server.requests.slice(begun).reduce((sum, { sent }) => sum + sent, 0);
    expect(sentAfter).toBeLessThan(large.length - model!.bytes + 1);
    expect(sentAfter).toBeGreaterThan(CHUNK);
  });
});
