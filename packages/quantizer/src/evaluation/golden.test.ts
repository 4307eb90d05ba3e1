// The dense path against PyTorch: logits and perplexity of the embedded checkpoint, on every CPU backend.
import { readFile } from 'node:fs/promises';
import {
  type Backend,
  createModel,
  createReferenceBackend,
  createWasmBackend,
  type Model,
} from '@duobit/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../checkpoint/open.ts';
import { evaluatePerplexity, evaluateTokens } from './perplexity.ts';

const FIXTURES = new URL('../../../../fixtures/', import.meta.url);
const LOGIT_TOLERANCE = 1e-3;
const PERPLEXITY_TOLERANCE = 1e-3;

/** Shape of fixtures/golden/*.json; see scripts/golden/README.md. */
interface Golden {
  readonly logits: {
    readonly text: string;
    readonly tokens: number[];
    readonly vocabulary: number;
    readonly sampled: number[];
    readonly positions: { readonly argmax: number; readonly max: number; readonly values: number[] }[];
    readonly last: string;
  };
  readonly perplexity: {
    readonly text: string;
    readonly textTokens: number;
    readonly context: number;
    readonly windows: number;
    readonly tokens: string;
    readonly perplexity: number;
  }[];
}

async function readGolden(name: string): Promise<Golden> {
  return JSON.parse(await readFile(new URL(`golden/${name}.json`, FIXTURES), 'utf8')) as Golden;
}

function decodeBase64(text: string): ArrayBuffer {
  return Uint8Array.from(Buffer.from(text, 'base64')).buffer;
}

const backends: [string, () => Promise<Backend>][] = [
  ['wasm', () => createWasmBackend()],
  ['reference', async () => createReferenceBackend()],
];

describe.each(backends)('TinyStories-656K in f32 on %s', (backendName, createBackend) => {
  let golden: Golden;
  let backend: Backend;
  let model: Model;

  beforeAll(async () => {
    golden = await readGolden('tinystories-656k');
    backend = await createBackend();
    const path = new URL('tinystories-656k', FIXTURES).pathname;
    model = await createModel(await openCheckpoint(path), backend, { contextLength: 512 });
  });

  afterAll(async () => {
    await model?.dispose();
    await backend?.dispose();
  });

  it('gives the same logits for a fixed prompt', async () => {
    const { logits } = golden;
    expect(model.tokenizer.encode(logits.text).slice(0, logits.tokens.length)).toEqual(logits.tokens);
    const found = await model.forward(logits.tokens, { logits: 'all' });
    expect(found.length).toBe(logits.tokens.length * logits.vocabulary);
    let worst = 0;
    logits.positions.forEach(({ values, max }, position) => {
      const row = found.subarray(position * logits.vocabulary, (position + 1) * logits.vocabulary);
      values.forEach((value, i) => {
        worst = Math.max(worst, Math.abs(row[logits.sampled[i]!]! - value));
      });
      worst = Math.max(worst, Math.abs(Math.max(...row) - max));
    });
    new Float32Array(decodeBase64(logits.last)).forEach((value, i) => {
      worst = Math.max(worst, Math.abs(found[(logits.tokens.length - 1) * logits.vocabulary + i]! - value));
    });
    expect(worst).toBeLessThan(LOGIT_TOLERANCE);
  });

  it('gives the same perplexity on held-out stories', async () => {
    const expected = golden.perplexity.find((entry) => entry.text === 'heldout.txt')!;
    const text = await readFile(new URL('stories/heldout.txt', FIXTURES), 'utf8');
    const report = await evaluatePerplexity(model, text, { context: expected.context });
    expect(report.windows).toBe(expected.windows);
    expect(Math.abs(report.perplexity / expected.perplexity - 1)).toBeLessThan(PERPLEXITY_TOLERANCE);
  });

  // The scalar backend would take long over this one and sees the same plan in the test above.
  if (backendName === 'wasm') {
    it('gives the same perplexity on eight windows of WikiText-2', async () => {
      const expected = golden.perplexity.find((entry) => entry.text === 'wiki.test.raw')!;
      const tokens = [...new Int32Array(decodeBase64(expected.tokens))];
      const report = await evaluateTokens(model, tokens, { context: expected.context });
      expect(report.windows).toBe(expected.windows);
      expect(Math.abs(report.perplexity / expected.perplexity - 1)).toBeLessThan(PERPLEXITY_TOLERANCE);
    });
  }
});
