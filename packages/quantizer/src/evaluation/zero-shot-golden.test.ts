// Multiple choice against PyTorch: log-likelihoods of every choice of the embedded questions, and the answers they give.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Backend, createModel, createWasmBackend, type Model } from '@duobit/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../checkpoint/open.ts';
import { createScorer } from './scorer.ts';
import { parseTask, TASK_NAMES, TASKS } from './tasks.ts';
import { evaluateZeroShot } from './zero-shot.ts';

const FIXTURES = new URL('../../../../fixtures/', import.meta.url);
/** Sums of up to some 30 log-likelihoods, each from logits that agree to 1e-4 (golden.test.ts). */
const TOLERANCE = 1e-3;

/** Shape of fixtures/golden/zeroshot-*.json; see scripts/golden/README.md. */
interface Golden {
  readonly tasks: {
    readonly task: string;
    readonly sha256: string;
    readonly right: number;
    readonly rightNormalized: number | null;
    readonly logLikelihoods: number[][];
  }[];
}

describe('TinyStories-656K on questions of our own', () => {
  let golden: Golden;
  let backend: Backend;
  let model: Model;

  beforeAll(async () => {
    golden = JSON.parse(await readFile(new URL('golden/zeroshot-tinystories-656k.json', FIXTURES), 'utf8'));
    backend = await createWasmBackend();
    const path = new URL('tinystories-656k', FIXTURES).pathname;
    model = await createModel(await openCheckpoint(path), backend, { contextLength: 512 });
  });

  afterAll(async () => {
    await model?.dispose();
    await backend?.dispose();
  });

  it.each(TASK_NAMES)('%s', async (name) => {
    const expected = golden.tasks.find(({ task }) => task === name)!;
    const bytes = await readFile(new URL(`zeroshot/${TASKS[name].file}`, FIXTURES));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(expected.sha256);
    const questions = parseTask(name, bytes.toString('utf8'), TASKS[name].file);
    const score = createScorer(model);
    const found: number[][] = [];
    for (const { choices } of questions) {
      const sums: number[] = [];
      for (const choice of choices) sums.push((await score(choice)).logLikelihood);
      found.push(sums);
    }
    expect(found.map((sums) => sums.length)).toEqual(expected.logLikelihoods.map((sums) => sums.length));
    const differences = expected.logLikelihoods.flatMap((sums, question) =>
      sums.map((sum, choice) => Math.abs(sum - found[question]![choice]!)),
    );
    expect(Math.max(...differences)).toBeLessThan(TOLERANCE);

    const report = await evaluateZeroShot(model, questions);
    expect(report.questions).toBe(expected.logLikelihoods.length);
    expect(report.accuracy.value * report.questions).toBeCloseTo(expected.right, 9);
    if (expected.rightNormalized === null) expect(report.accuracyNormalized).toBeNull();
    else expect(report.accuracyNormalized!.value * report.questions).toBeCloseTo(expected.rightNormalized, 9);
  });
});
