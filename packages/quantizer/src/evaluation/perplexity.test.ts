// Perplexity on models whose likelihoods are known in closed form, and its refusals.
import type { Model } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { evaluatePerplexity, evaluateTokens } from './perplexity.ts';

const VOCABULARY = 8;

/** A model that only evaluation sees: logits are a function of the tokens run so far. */
function makeModel(logitsOf: (history: readonly number[]) => number[], contextLength = 16) {
  const runs: { position: number; rows: number }[] = [];
  let history: number[] = [];
  const model: Pick<Model, 'name' | 'contextLength' | 'forward' | 'tokenizer'> = {
    name: 'made-up',
    contextLength,
    tokenizer: {
      longestToken: 1,
      vocabularySize: VOCABULARY,
      hasChatTemplate: false,
      encode: (text, options) => {
        expect(options).toEqual({ bos: false });
        return [...text].map(Number);
      },
      decode: (tokens) => tokens.join(''),
      tokenBytes: () => new Uint8Array(0),
      isSilent: () => false,
      createStreamDecoder: () => ({ push: String, flush: () => '' }),
      applyChatTemplate: () => '',
    },
    async forward(tokens, options) {
      const position = options?.position ?? 0;
      runs.push({ position, rows: tokens.length });
      history = history.slice(0, position);
      const logits: number[] = [];
      for (const token of Array.from(tokens)) {
        history.push(token);
        logits.push(...logitsOf(history));
      }
      return Float32Array.from(logits);
    },
  };
  return { model: model as Model, runs };
}

const uniform = () => new Array<number>(VOCABULARY).fill(3);
/** Gives 'the next token is one more than this one' a probability of 1/2. */
const successor = (history: readonly number[]) => {
  const logits = new Array<number>(VOCABULARY).fill(0);
  logits[(history.at(-1)! + 1) % VOCABULARY] = Math.log(VOCABULARY - 1);
  return logits;
};

describe('evaluatePerplexity', () => {
  it('is the size of the vocabulary for a uniform model', async () => {
    const report = await evaluatePerplexity(makeModel(uniform).model, '0123456701234567', { context: 4 });
    expect(report.perplexity).toBeCloseTo(VOCABULARY, 10);
    expect(report).toMatchObject({ tokens: 12, windows: 4, context: 4 });
  });

  it('weights all predicted tokens alike, in windows of their own', async () => {
    // '0123' predicts three successors; '0246' none.
    const report = await evaluatePerplexity(makeModel(successor).model, '01230246', { context: 4 });
    expect(report.nll).toBeCloseTo((3 * Math.log(2) + 3 * Math.log(14)) / 6, 6);
    expect(report.perplexity).toBeCloseTo(Math.exp(report.nll), 12);
  });

  it('starts each window at position 0, never runs its last token and drops the rest of the text', async () => {
    const { model, runs } = makeModel(uniform, 100);
    const text = '01234567'.repeat(25);
    const report = await evaluatePerplexity(model, `${text}01`, { context: 100 });
    expect(runs).toEqual([
      { position: 0, rows: 64 },
      { position: 64, rows: 35 },
      { position: 0, rows: 64 },
      { position: 64, rows: 35 },
    ]);
    expect(report).toMatchObject({ windows: 2, tokens: 198 });
  });

  it('stops at the limit and reports progress', async () => {
    const seen: number[] = [];
    const report = await evaluateTokens(makeModel(uniform).model, [0, 1, 2, 3, 4, 5, 6, 7], {
      context: 2,
      limit: 3,
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    expect(report.windows).toBe(3);
    expect(seen).toEqual([1 / 3, 2 / 3, 1]);
  });

  it.each([
    ['TEXT_TOO_SHORT', '012', { context: 4 }],
    ['TEXT_TOO_SHORT', '', {}],
    ['EVALUATION_OPTION', '0123', { context: 1 }],
    ['EVALUATION_OPTION', '0123', { context: 17 }],
    ['EVALUATION_OPTION', '0123', { context: 2.5 }],
    ['EVALUATION_OPTION', '0123', { limit: 0 }],
    ['EVALUATION_OPTION', '0123', { limit: Number.NaN }],
    ['ABORTED', '0123', { context: 2, signal: AbortSignal.abort() }],
  ])('throws %s for text %j with %j', async (code, text, options) => {
    await expect(evaluatePerplexity(makeModel(uniform).model, text, options)).rejects.toMatchObject({ code });
  });

  it('does not turn NaN logits into a number', async () => {
    const { model } = makeModel(() => new Array<number>(VOCABULARY).fill(Number.NaN));
    await expect(evaluatePerplexity(model, '0123', { context: 2 })).rejects.toMatchObject({
      code: 'EVALUATION_NOT_FINITE',
    });
  });
});
