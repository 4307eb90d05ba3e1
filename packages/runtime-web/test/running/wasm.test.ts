// The wasm backend in Chromium: in a worker and in the page itself, on one thread and on several, in a page with and without
// cross-origin isolation. Plain SIMD gives the bits that Node gives; every number of threads the same.
import { findChromium, launchChromium, type RangeServer } from '@duobit/testkit/chromium';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPage, startBench } from './bench.ts';
import { runWasmJob } from './wasm-job.ts';
import type { wasmActions } from './wasm-page.ts';

const command = findChromium();
const MODELS = [
  { linear: 'w11', embedding: 'int8' },
  { linear: 'f32', embedding: 'int4' },
] as const;

describe.skipIf(command === null)('the wasm backend in Chromium', { timeout: 120_000 }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium(command!);
  }, 60_000);
  afterAll(() => browser?.close());

  for (const isolated of [true, false])
    describe(isolated ? 'isolated' : 'not isolated', () => {
      let server: RangeServer;
      beforeAll(async () => {
        server = await startBench(['wasm-page.ts'], { isolated });
      });
      afterAll(() => server?.close());

      for (const model of MODELS)
        it(`computes ${model.linear} as in Node, for all numbers of threads`, async () => {
          const { call, close } = await openPage<typeof wasmActions>(browser, server);
          for (const relaxedSimd of [false, true]) {
            // Relaxed SIMD may round otherwise in another engine, but not with another number of threads.
            let expected = relaxedSimd
              ? null
              : (await runWasmJob({ ...model, relaxedSimd, threads: 1 })).logits;
            for (const where of ['worker', 'page'] as const)
              for (const threads of [1, 3]) {
                const found = await call(where, { ...model, relaxedSimd, threads });
                expect(found.threads).toBe(isolated ? threads : 1);
                expected ??= found.logits;
                expect(found.logits).toEqual(expected);
              }
          }
          await close();
        });
    });
});
