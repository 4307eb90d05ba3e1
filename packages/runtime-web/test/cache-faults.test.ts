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

  /** Loads again without faults; what was sent in both loads is at most one chunk more than the model has. */
  async function expectResumed(tab: Tab, name: string, sentBefore: number): Promise<void> {
    server.reset();
    const again = await tab.call('load', { url: at(name) });
    expect(again.logits).toEqual(logits);
    expect(again.progress?.cached).toBeGreaterThan(sentBefore - CHUNK);
    // Twice: the probe and the header, of each file.
    const small = 3 * 20_000;
    expect(sentBefore + server.bytesSent()).toBeLessThan(large.length + CHUNK + small);
  }

  it.each(['large.duo', 'sharded.duo'])(
    '%s: a server that goes away ends in one error; the next load goes on',
    async (name) => {
      const tab = await open();
      server.faults.cutAfter = 10 << 20;
      const { error, logits: none } = await tab.call('load', { url: at(name) });
      expect(none).toBeNull();
      expect(error?.code).toBe('HTTP_NETWORK');
      expect(error?.message).toContain('(5 attempts)');
      await expectResumed(tab, name, 10 << 20);
    },
  );

  it('a connection that breaks for a moment costs nothing', async () => {
    const tab = await open();
    server.faults.cutAfter = 10 << 20;
    const loading = tab.call('load', { url: at('large.duo') });
    while (!server.faults.offline) await new Promise((resolve) => setTimeout(resolve, 5));
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
    const { error } = await tab.call('load', { url: at('large.duo'), abortAt: 9 << 20 });
    expect(error?.code).toBe('ABORTED');
    const [model] = await tab.call('list');
    expect(model!.bytes).toBeGreaterThan(CHUNK);
    expect(model!.complete).toBe(false);
    await expectResumed(tab, 'large.duo', 9 << 20);
  });

  it.each([false, true])(
    'a page that is closed keeps what was stored (in a worker: %s)',
    async (inWorker) => {
      const tab = await open(inWorker);
      server.faults.stallAfter = 10 << 20;
      tab.call('load', { url: at('large.duo') }).catch(() => {});
      while (server.faults.stallAfter !== 0) await new Promise((resolve) => setTimeout(resolve, 5));
      // The last chunk that came whole is being written, or is not.
      await tab.page.close();
      await expectResumed(await open(inWorker), 'large.duo', 10 << 20);
    },
  );

  it('a browser that is killed keeps what was stored on disk', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'duobit-profile-'));
    try {
      let profile = await launchChromiumProfile(command!, folder);
      const tab = await Tab.open(profile, server.url);
      server.faults.stallAfter = 10 << 20;
      tab.call('load', { url: at('large.duo') }).catch(() => {});
      while (server.faults.stallAfter !== 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const gone = new Promise((resolve) => profile.once('close', resolve));
      const session = await profile.newCDPSession(tab.page);
      session.send('Browser.crash').catch(() => {});
      await gone;
      profile = await launchChromiumProfile(command!, folder);
      await expectResumed(await Tab.open(profile, server.url), 'large.duo', 10 << 20);
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
      expect(first.logits).toEqual(logits);
      expect(first.notices).toEqual([
        expect.stringMatching(
          /^note: the model is not stored: it takes 1\d\.\d MB more, and there are \d\.\d MB$/,
        ),
      ]);
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
    while (server.bytesSent('large.duo') < 6e6) await new Promise((resolve) => setTimeout(resolve, 5));
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
    while (server.bytesSent('large.duo') < 5e6) await new Promise((resolve) => setTimeout(resolve, 5));
    const loading = two.call('load', { url: at('large.duo') });
    while (server.bytesSent('large.duo') < 9e6) await new Promise((resolve) => setTimeout(resolve, 5));
    const [model] = await two.call('list');
    expect(await two.call('remove', model!.id)).toBe('CACHE_IN_USE');
    await one.page.close();
    server.faults.bytesPerSecond = null;
    expect(await loading).toMatchObject({ logits, notices: [] });
    expect(server.bytesSent('large.duo')).toBeLessThan(large.length + CHUNK + 1e6);
  });
});
