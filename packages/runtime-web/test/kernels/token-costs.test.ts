// In a real browser a token costs what it does in Node, and tunings are kept.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  bundleForBrowser,
  findChromium,
  launchChromium,
  type PageServer,
  startServer,
} from '@duobit/testkit/chromium';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KernelPage } from './page.ts';

declare const kernelPage: KernelPage;

const command = findChromium();
const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

describe.skipIf(!command)('kernels in Chromium', { timeout: 300_000 }, () => {
  let browser: Browser;
  let server: PageServer;
  let page: Page;

  beforeAll(async () => {
    const script = await bundleForBrowser(pathOf('page.ts'));
    const model = readFileSync(pathOf('../../../../fixtures/embedded/tinystories-656k.duo'));
    server = await startServer(({ url }, response) => {
      if (url === '/model.duo') response.end(model);
      else if (url === '/page.js') response.setHeader('content-type', 'text/javascript').end(script);
      else
        response.setHeader('content-type', 'text/html').end('<script type="module" src="page.js"></script>');
    });
    browser = await launchChromium(command!, { webgpu: true });
    page = await browser.newPage();
    await page.goto(server.url);
    await page.waitForFunction('globalThis.kernelPage');
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  it('a token is one pass, one submit and one small readback, every weight read once, and nothing is made anew', async () => {
    const { tokens, packedBytes, w11Rows } = await page.evaluate(() => kernelPage.measureCosts('model.duo'));
    const weightBytes = packedBytes + 4 * w11Rows;
    const common = { passes: 1, submits: 1, dispatches: 25, readbacks: 1, weightBytes };
    const nothingNew = { buffers: 0, pipelines: 0, bindGroups: 0 };
    expect(tokens).toEqual([8, 41 * 8].map((readbackBytes) => ({ ...common, ...nothingNew, readbackBytes })));
  });

  it('software is not measured', async () => {
    expect(await page.evaluate(() => kernelPage.tuningOf())).toEqual({});
  });

  it('tunings are kept under their key', async () => {
    const key = 'a vendor/é & more';
    expect(await page.evaluate((name) => kernelPage.keep(name, '{"share":512}'), key)).toEqual([
      null,
      '{"share":512}',
      null,
    ]);
  });
});
