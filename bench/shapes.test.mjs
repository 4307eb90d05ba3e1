// Random containers are containers, and the arithmetic of the floor.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createModel, createReferenceBackend } from '@duobit/core';
import { openContainer, validateContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { afterAll, describe, expect, it } from 'vitest';
import { describeShape, SHAPES, writeRandomContainer } from './random-container.mjs';
import { formatShapesPage, summarizeShapes } from './shapes-page.mjs';

const folder = await mkdtemp(path.join(tmpdir(), 'duobit-shapes-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const TINY = {
  ...describeShape('1B'),
  vocabularySize: 96,
  hiddenSize: 64,
  intermediateSize: 160,
  blockCount: 2,
  headCount: 4,
  kvHeadCount: 2,
  headSize: 16,
  contextLength: 32,
};

describe('a random container', () => {
  it('is valid and runs to finite logits of the size of 1', async () => {
    const file = path.join(folder, 'tiny.duo');
    await writeRandomContainer(TINY, file);
    const source = await createFileSource(file);
    const report = await validateContainer(source);
    expect(report.problems).toEqual([]);
    const backend = createReferenceBackend();
    const model = await createModel(await openContainer(source), backend);
    const logits = await model.forward([1, 2, 3, 95], { logits: 'all' });
    expect(logits.every(Number.isFinite)).toBe(true);
    const deviation = Math.sqrt(logits.reduce((sum, value) => sum + value * value, 0) / logits.length);
    expect(deviation).toBeGreaterThan(0.05);
    expect(deviation).toBeLessThan(20);
    await model.dispose();
    await source.close();
  });

  it('refuses rows that would need padding', async () => {
    const file = path.join(folder, 'odd.duo');
    await expect(writeRandomContainer({ ...TINY, hiddenSize: 72, headSize: 18 }, file)).rejects.toThrow(
      'no multiple of 32',
    );
  });

  it('has the weights of the model that it is named after', () => {
    // Weights of Llama 3.2, by its tensors: the names say 1B and 3B.
    const billions = Object.keys(SHAPES).map((name) => {
      const { hiddenSize, blockCount, headCount, headSize, kvHeadCount, intermediateSize, vocabularySize } =
        describeShape(name);
      const attention = 2 * hiddenSize * (headCount + kvHeadCount) * headSize;
      const block = attention + 3 * hiddenSize * intermediateSize;
      return (blockCount * block + vocabularySize * hiddenSize) / 1e9;
    });
    expect(billions.map((count) => count.toFixed(2))).toEqual(['1.24', '3.21']);
  });
});

const run = (round, decode, readBytesPerSecond) => ({
  subject: '1B',
  threads: 1,
  threadsUsed: 1,
  round,
  decode,
  prefill: { 16: 100 },
  loadSeconds: 4,
  peakRssBytes: 700e6,
  coresElsewhere: 0,
  weightBytes: 500e6,
  readBytesPerSecond,
});

const makeRecord = (bandwidths) => ({
  kind: 'shapes',
  started: '2026-01-01T00:00:00.000Z',
  ended: '2026-01-01T00:10:00.000Z',
  commit: 'abc',
  modified: false,
  machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, platform: 'linux', arch: 'x64', node: 'v20' },
  load: { start: [0.1, 0.1, 0.1], end: [1, 1, 1] },
  options: { prompts: [16], decode: 32, repeats: 3, threads: [1], shapes: ['1B'] },
  subjects: [{ id: '1B', engine: 'duobit', label: '1B', short: '1B' }],
  runs: bandwidths.map((bandwidth, i) => run(i + 1, 16 + 2 * i, bandwidth)),
  skipped: [],
});

describe('the bandwidth floor', () => {
  it('is bandwidth over weights, and the share is taken round by round', () => {
    const [row] = summarizeShapes(makeRecord([10e9, 10e9, 12.5e9]));
    expect(row.floor).toEqual({ median: 20, minimum: 20, maximum: 25 });
    expect(row.share).toEqual({ median: 0.8, minimum: 0.8, maximum: 0.9 });
    expect(formatShapesPage(makeRecord([10e9, 10e9, 12.5e9]))).toContain(
      '| 1B | 1 | 500.0 | 18.0 (16.0–20.0) | 20.0 (20.0–25.0) | 80 % (80–90) | 4.0 | 700.0 |',
    );
  });

  it('is said not to be measured when it was not', () => {
    const page = formatShapesPage(makeRecord([null, null, null]));
    expect(page).toContain('| not measured | not measured |');
    expect(page).not.toMatch(/NaN|Infinity|null/);
  });
});
