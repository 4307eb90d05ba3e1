// Fitting on several threads, as built: threads need the built file. `npm test` builds first.
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';
import { createWasmBackend } from '@duobit/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as quantizer from '../src/index.ts';

const BUILT = new URL('../dist/index.js', import.meta.url).href;
const { createW11LayerMethod, fitModel, openCheckpoint, W11_DEFAULTS } = (await import(
  BUILT
)) as typeof quantizer;
const TINY_STORIES = new URL('../../../fixtures/tinystories-656k', import.meta.url).pathname;
const TEXT = Array.from(
  { length: 40 },
  (_, i) => `Once upon a time there were ${i} cats in ${i * i} gardens.`,
);

/** Layers' parts that threads were asked for. */
let asked = 0;
const { Worker } = threads;
beforeAll(() => {
  threads.Worker = class extends Worker {
    override postMessage(...parameters: Parameters<threads.Worker['postMessage']>): void {
      if ((parameters[0] as { problem?: object } | null)?.problem) asked += 1;
      super.postMessage(...parameters);
    }
  };
  syncBuiltinESMExports();
});
afterAll(() => {
  threads.Worker = Worker;
  syncBuiltinESMExports();
});

async function fit(count: number, options: Partial<quantizer.W11LayerOptions> = {}) {
  const checkpoint = await openCheckpoint(TINY_STORIES);
  const backend = await createWasmBackend({ threads: count });
  try {
    return await fitModel(
      checkpoint,
      backend,
      { text: TEXT, context: 64, maxWindows: 4 },
      {
        method: createW11LayerMethod({ ...W11_DEFAULTS, turns: 1, ...options }),
        correction: 1,
        correctionDamping: 0.05,
        clips: 'none',
        activations: 'f16',
      },
    );
  } finally {
    await backend.dispose();
    await checkpoint.close();
  }
}

describe('RowWorkers', () => {
  it('gives on three threads what one gives, bit for bit', async () => {
    const one = await fit(1);
    expect(asked).toBe(0);
    const three = await fit(3);
    expect(asked).toBeGreaterThan(3 * 7);
    expect(three.linearBytes).toBe(one.linearBytes);
    for (const name of one.source.tensorNames.filter((tensor) => tensor.includes('proj'))) {
      const [expected, found] = [await one.source.readTensor(name), await three.source.readTensor(name)];
      expect(Buffer.compare(Buffer.from(found.planes.dense!), Buffer.from(expected.planes.dense!))).toBe(0);
    }
  });

  it('reports an error with its place in the whole layer', async () => {
    const failure = (threads: number) =>
      fit(threads, { damping: Number.NaN }).catch((error: unknown) => error);
    const [one, three] = [await failure(1), await failure(3)];
    expect(one).toMatchObject({ name: 'DuobitError' });
    expect(String(three)).toBe(String(one));
  });
});
