// What JavaScript holds while a model goes from the network to the GPU, in Chromium: the tensors that are being uploaded and some
// chunks, however large the model is.
import { createMemorySource, openContainer } from '@duobit/format';
import { findChromium, launchChromium, type RangeServer } from '@duobit/testkit/chromium';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHUNK, makeContainer, startBench, Tab } from './loading/bench.ts';

const command = findChromium();

describe.skipIf(!command)('memory while loading in Chromium', () => {
  let browser: Browser;
  let server: RangeServer;
  let model: Uint8Array;
  let largestSegment: number;

  beforeAll(async () => {
    server = await startBench();
    model = await makeContainer({
      linear: 'f32',
      architecture: {
        hiddenSize: 512,
        intermediateSize: 1024,
        headCount: 8,
        kvHeadCount: 8,
        headSize: 64,
        blockCount: 6,
      },
    });
    server.files.set('model.duo', { body: model });
    const { manifest } = await openContainer(createMemorySource(model));
    largestSegment = Math.max(...manifest.segments.map(({ length }) => length));
    browser = await launchChromium(command!, {
      webgpu: true,
      args: ['--js-flags=--expose-gc', '--enable-precise-memory-info'],
    });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  it.each(['opfs', 'none'] as const)('is that of a segment and some chunks (cache: %s)', async (cache) => {
    const context = await browser.newContext();
    const tab = await Tab.open(context, server.url);
    await tab.call('watchMemory');
    // Four chunks are received or wait, one is cut into tensors; the rest is the program itself.
    const most = largestSegment + 5 * CHUNK + 2e6;
    expect(model.length).toBeGreaterThan(1.5 * most);
    const loads = cache === 'opfs' ? ['first', 'second'] : ['only'];
    for (const load of loads) {
      const { error } = await tab.call('load', { url: `${server.url}model.duo`, backend: 'webgpu', cache });
      expect(error, load).toBeNull();
      const peak = await tab.call('peakMemory');
      expect(peak, load).toBeGreaterThan(1e6);
      expect(peak, load).toBeLessThan(most);
    }
    await context.close();
  });
});
