// Multiple choice on a model whose likelihoods are known: what is run, what is shared, what counts as an answer.
import type { Model } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { createScorer } from './scorer.ts';
import type { Question } from './tasks.ts';
import { evaluateZeroShot } from './zero-shot.ts';

/** Letters a to h are tokens 0 to 7, a space is 8; the model likes a letter's successor, and a space after any letter. */
const TEXT = 'abcdefgh ';
const WIDTH = TEXT.length;

function makeModel(contextLength = 32, logit = 2) {
  const runs: string[] = [];
  let history: number[] = [];
  const model = {
    name: 'made-up',
    contextLength,
    specialTokens: { bos: 7, eos: [6] },
    tokenizer: { encode: (text: string) => [...text].map((letter) => TEXT.indexOf(letter)) },
    async forward(tokens: number[], { position, logits }: { position: number; logits: string }) {
      expect(position).toBeLessThanOrEqual(history.length);
      runs.push(`${position} ${tokens.map((token) => TEXT[token]).join('')} ${logits}`);
      history = [...history.slice(0, position), ...tokens];
      if (logits === 'none') return new Float32Array(0);
      return Float32Array.from(
        tokens.flatMap((token) =>
          Array.from({ length: WIDTH }, (_, next) => (next === token + 1 || next === 8 ? logit : 0)),
        ),
      );
    },
  };
  return { model: model as unknown as Model, runs };
}

const likely = 2 - Math.log(2 * Math.exp(2) + WIDTH - 2);
/** After a space only another one is likely. */
const afterSpace = -Math.log(Math.exp(2) + WIDTH - 1);

function ask(context: string, choices: string[], gold: number): Question {
  return {
    choices: choices.map((choice) => ({ context, continuation: ` ${choice}` })),
    gold,
    lengths: choices.map((choice) => choice.length),
  };
}

describe('createScorer', () => {
  it('sums over the continuation, and runs a common context once', async () => {
    const { model, runs } = makeModel();
    const score = createScorer(model);
    const found = await score({ context: 'abc', continuation: ' def' });
    expect(found).toMatchObject({ tokens: 4, truncated: false });
    // A space after c and the d after it, then e and f after their predecessors.
    expect(found.logLikelihood).toBeCloseTo(3 * likely + afterSpace, 5);
    await score({ context: 'abc', continuation: ' dg' });
    await score({ context: 'abd', continuation: ' a' });
    expect(runs).toEqual(['0 ab none', '2 c de all', '2 c d all', '2 d  all']);
  });

  it('moves spaces at the end of the context to the continuation', async () => {
    const { model, runs } = makeModel();
    expect(await createScorer(model)({ context: 'ab ', continuation: 'c' })).toMatchObject({ tokens: 2 });
    expect(runs).toEqual(['0 a none', '1 b  all']);
  });

  it('puts BOS in place of an empty context', async () => {
    const { model, runs } = makeModel();
    expect(await createScorer(model)({ context: '', continuation: 'ab' })).toMatchObject({ tokens: 2 });
    expect(runs).toEqual(['0 ha all']);
  });

  it('cuts a context that is too long at its beginning', async () => {
    const { model, runs } = makeModel(4);
    const found = await createScorer(model)({ context: 'abcdef', continuation: ' gh' });
    expect(found).toMatchObject({ tokens: 3, truncated: true });
    expect(runs).toEqual(['0 e none', '1 f g all']);
    await expect(createScorer(model)({ context: 'a', continuation: ' bcde' })).rejects.toMatchObject({
      code: 'EVALUATION_DATA',
    });
  });
});

describe('evaluateZeroShot', () => {
  it('answers by sum and by sum over length', async () => {
    // 'h' is short; 'abcdef' is likelier a letter.
    const questions = [ask('a', ['h', 'abcdef'], 1), ask('a', ['h', 'abcdef'], 0), ask('a', ['b', 'b'], 0)];
    const seen: number[] = [];
    const report = await evaluateZeroShot(makeModel().model, questions, {
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    expect(report.questions).toBe(3);
    expect(report.accuracy.value).toBeCloseTo(2 / 3, 12);
    expect(report.accuracyNormalized!.value).toBeCloseTo(2 / 3, 12);
    expect(report.accuracy.standardError).toBeCloseTo(Math.sqrt((2 / 3) * (1 / 3) * (1 / 2)), 12);
    expect(seen).toEqual([1 / 3, 2 / 3, 1]);
    const one = await evaluateZeroShot(makeModel().model, questions, { limit: 1 });
    expect(one).toMatchObject({ questions: 1, accuracy: { value: 0, standardError: null } });
    expect(one.accuracyNormalized!.value).toBe(1);
  });

  it('has no normalized accuracy where choices share their continuation', async () => {
    const choices = ['ab', 'ag'].map((context) => ({ context, continuation: 'h' }));
    const report = await evaluateZeroShot(makeModel().model, [{ choices, gold: 1, lengths: null }]);
    expect(report).toMatchObject({ accuracy: { value: 1 }, accuracyNormalized: null, truncated: 0 });
  });

  it('stops when asked, and refuses bad limits and numbers', async () => {
    const questions = [ask('a', ['b', 'c'], 0)];
    const evaluate = (options: object, model = makeModel().model) =>
      evaluateZeroShot(model, questions, options);
    await expect(evaluate({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(evaluate({ limit: 0 })).rejects.toMatchObject({ code: 'EVALUATION_OPTION' });
    await expect(evaluate({}, makeModel(32, Number.NaN).model)).rejects.toMatchObject({
      code: 'EVALUATION_NOT_FINITE',
      message: expect.stringContaining('question 1, choice 1'),
    });
  });
});
