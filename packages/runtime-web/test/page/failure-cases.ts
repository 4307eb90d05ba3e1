// What goes wrong is said in one clear message, and the page goes on: damaged files, a network that ends, no space, a lost device, a
// worker that dies, a load that is called off.
import { findChromium, launchChromium } from '@duobit/testkit/chromium';
import { expect, it } from 'vitest';
import { eventually, readEmbedded, type Stand, startSite, Visit } from './site.ts';

const LARGE = 'large.duo';
const CHUNK = 4 << 20;

export function failureCases(stand: Stand): void {
  it('keeps the model when a file is dropped that is none', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    for (const bytes of [
      Buffer.from('not a model, whatever its name says'.repeat(20)),
      await damageHeader(),
    ]) {
      await visit.drop(bytes, 'broken.duo');
      expect(await visit.failure()).toMatch(/^Not loaded: .+[A-Z]+_[A-Z_]+/);
      expect(await page.title()).toBe('embedded \u00b7 Duobit');
    }
    await visit.chooseGreedy(4);
    await visit.write('Once');
    expect((await visit.answer()).outcome).toContain('4 tokens');
    expect(await page.locator('.notice.failed').count()).toBe(0);
    expect(visit.complaints).toEqual([]);
  });

  it('says that weights are damaged, and takes the next file', async () => {
    const visit = await stand.open('?backend=wasm');
    const { page } = visit;
    const bytes = await readEmbedded();
    const damaged = Buffer.from(bytes);
    damaged[damaged.length - 20_000]! ^= 1;
    await visit.drop(damaged, 'damaged.duo');
    expect(await visit.failure()).toMatch(/SHA-256.+CHUNK_HASH/);
    await visit.screenshot('damaged');
    // The picker does what a drop does.
    await page.locator('.welcome input[type=file]').setInputFiles({
      name: 'good.duo',
      mimeType: 'application/octet-stream',
      buffer: bytes,
    });
    await visit.ready();
    expect(await page.title()).toBe('good \u00b7 Duobit');
    expect(await page.locator('.notice.failed').count()).toBe(0);
    expect(visit.complaints).toEqual([]);
  });

  it('goes on where it was when the network comes back', async () => {
    const { server } = stand;
    const visit = await stand.open('?backend=wasm');
    server.faults.cutAfter = 9 << 20;
    await visit.page.getByLabel('Address of a model').first().fill(LARGE);
    await visit.page.keyboard.press('Enter');
    await visit.page.locator('.notice.failed').waitFor();
    expect(await visit.failure()).toContain('HTTP_NETWORK');
    const before = server.bytesSent(LARGE);
    server.reset();
    await visit.page.getByRole('button', { name: 'Try again' }).click();
    await visit.ready();
    const { body } = server.files.get(LARGE)!;
    expect(before + server.bytesSent(LARGE)).toBeLessThan(body.length + CHUNK + 100_000);
    expect(visit.complaints.filter((line) => !line.includes('Failed to load resource'))).toEqual([]);
  });

  it('loads what is stored without a network, and says so', async () => {
    const visit = await stand.open('?backend=wasm');
    const { page } = visit;
    const load = async () => {
      await page.getByLabel('Address of a model').first().fill('embedded.duo');
      await page.keyboard.press('Enter');
      await visit.ready();
    };
    await load();
    await page.reload();
    stand.server.faults.offline = true;
    await load();
    expect(await visit.notice()).toContain('the stored model is used');
  });

  it('loads without storing where there is no space, and says so', async () => {
    const visit = await stand.open('?backend=wasm');
    const { page, context, server } = visit;
    const devtools = await context.newCDPSession(page);
    await devtools.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(server.url).origin,
      quotaSize: 6 << 20,
    });
    await page.getByLabel('Address of a model').first().fill(LARGE);
    await page.keyboard.press('Enter');
    await visit.ready();
    expect(await visit.notice()).toContain('the model is not stored');
    await visit.chooseGreedy(3);
    await visit.write('Hello');
    expect((await visit.answer()).outcome).toContain('3 tokens');
    await visit.screenshot('no-space');
    await visit.showPanel('Storage');
    await eventually(() => page.locator('.storage').textContent()).toContain('Nothing is stored');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await page.locator('.notice').count()).toBe(0);
    await visit.showPanel('Model');
    expect(await page.locator('#panel-model').textContent()).toContain('the model is not stored');
    expect(visit.complaints).toEqual([]);
  });

  it('ends an answer as if nothing had been when the device is lost', async () => {
    const answer = async (visit: Visit, lose: () => Promise<void>) => {
      await visit.ready();
      await visit.chooseGreedy(16);
      await visit.write('Once upon a time');
      await lose();
      const { text, outcome } = await visit.answer();
      expect(outcome).toContain('16 tokens');
      return text;
    };
    const expected = await answer(await stand.open('?model=embedded.duo&backend=wasm'), async () => {});
    const visit = await stand.open('?model=embedded.duo&backend=webgpu&kv=f32');
    const text = await answer(visit, async () => {
      await eventually(() => visit.page.locator('.turn.assistant .said').textContent()).not.toBe('');
      await visit.inWorker(() => (globalThis as unknown as { loseDevices(): void }).loseDevices());
    });
    expect(text).toBe(expected);
    expect(await visit.notice()).toMatch(/lost/);
  });

  it('says that the worker was lost, and loads again', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    await visit.chooseGreedy(8);
    await visit.inWorker(() => globalThis.close());
    await visit.write('Once');
    expect(await visit.failure()).toContain('WORKER_LOST');
    await page.getByRole('button', { name: 'Load again' }).click();
    await eventually(() => page.locator('.notice.failed').count()).toBe(0);
    await visit.ready();
    await visit.write('Once');
    expect((await visit.answer()).outcome).toContain('8 tokens');
  });

  it('calls a load off, by the button and by Escape, and loads after that', async () => {
    const { server } = stand;
    const visit = await stand.open('?backend=wasm');
    const { page } = visit;
    const load = async () => {
      await page.getByLabel('Address of a model').first().fill(LARGE);
      await page.keyboard.press('Enter');
    };
    const stops = [
      () => page.getByRole('button', { name: 'Cancel' }).click(),
      () => page.keyboard.press('Escape'),
    ];
    for (const stop of stops) {
      server.faults.stallAfter = 5 << 20;
      await load();
      await eventually(() => page.locator('.loading .figures').textContent()).toMatch(/of 1\d\.\d MB/);
      await visit.screenshot('loading');
      await stop();
      await page.locator('.welcome').waitFor();
      expect(await page.locator('.notice').count()).toBe(0);
      expect(await page.title()).toBe('Duobit');
      await eventually(() => server.openRequests()).toEqual([]);
    }
    server.reset();
    await load();
    await visit.ready();
    expect(visit.complaints).toEqual([]);
  });

  it('says what is wrong with an address', async () => {
    const visit = await stand.open('?model=none.duo');
    expect(await visit.failure()).toMatch(/404.+SOURCE_MISSING/);
    await visit.page.getByLabel('Address of a model').first().fill('ftp://example.org/model.duo');
    await visit.page.keyboard.press('Enter');
    await eventually(() => visit.failure()).toContain('HTTP_REQUEST');
    expect(visit.strangers).toEqual([]);
  });

  it('runs on wasm where there is no WebGPU, on one thread where memory cannot be shared, and says why', async () => {
    const browser = await launchChromium(findChromium()!);
    const server = await startSite(stand.site, { isolated: false });
    try {
      const visit = await Visit.open(browser, server, { query: '?model=embedded.duo' });
      await visit.ready();
      expect(await visit.notice()).toContain('WebGPU is not available, using wasm');
      await visit.showPanel('Model');
      const run = await visit.page.locator('#panel-model').textContent();
      expect(run).toContain('Backendwasm');
      expect(run).toContain('Threadsone: the server does not send the headers');
      await visit.chooseGreedy(4);
      await visit.write('Once');
      expect((await visit.answer()).outcome).toContain('4 tokens');
      expect(visit.complaints).toEqual([]);
    } finally {
      await browser.close();
      await server.close();
    }
  });
}

/** The embedded model with a bit of its header changed, which its hash tells. */
async function damageHeader(): Promise<Buffer> {
  const bytes = Buffer.from(await readEmbedded());
  bytes[3000]! ^= 1;
  return bytes;
}
