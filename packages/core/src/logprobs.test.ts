// Log-probabilities against the softmax they are the logarithm of, and as generation gives them.
import { createModel, createReferenceBackend } from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TokenLogprobs } from './generation.ts';
import { readLogprobs } from './logprobs.ts';

const logitArrays = fc
  .array(fc.oneof(fc.integer({ min: -40, max: 40 }), fc.double({ min: -40, max: 40, noNaN: true })), {
    minLength: 1,
    maxLength: 60,
  })
  .map((values) => Float32Array.from(values));

describe('log-probabilities', () => {
  it('are the logarithms of the softmax, the likeliest first', () => {
    fc.assert(
      fc.property(logitArrays, fc.nat(20), (logits, count) => {
        const { of, top } = readLogprobs(logits, count);
        const weights = Array.from(logits, (value) => Math.exp(value));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (const [token, weight] of weights.entries())
          expect(of(token)).toBeCloseTo(Math.log(weight / total), 9);
        const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
        expect(top).toEqual(order.slice(0, count));
      }),
    );
  });

  it('refuse logits that are not finite', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => readLogprobs(Float32Array.of(1, bad, 2), 1)).toThrow(
        expect.objectContaining({ code: 'SAMPLER_LOGITS_INVALID' }),
      );
    expect(readLogprobs(Float32Array.of(1, Number.NEGATIVE_INFINITY), 1).of(1)).toBe(
      Number.NEGATIVE_INFINITY,
    );
  });

  it('come with tokens, of the model and not of the sampler, and change no token', async () => {
    const model = await createModel(makeTinyModel({ seed: 3 }), createReferenceBackend());
    const options = {
      maxTokens: 12,
      temperature: 0.7,
      topK: 5,
      presencePenalty: 1,
      ignoreEos: true,
      seed: 4,
    };
    const tokens: number[] = [];
    for await (const event of model.generate('Hi', options))
      if (event.kind === 'token') tokens.push(event.token);
    const told: TokenLogprobs[] = [];
    for await (const event of model.generate('Hi', { ...options, logprobs: 3 }))
      if (event.kind === 'token') told.push(event.logprobs!);
    expect(told.map(({ token }) => token)).toEqual(tokens);
    const prompt = model.tokenizer.encode('Hi');
    for (const [i, { token, bytes, logprob, top }] of told.entries()) {
      const { of, top: best } = readLogprobs(await model.forward([...prompt, ...tokens.slice(0, i)]), 3);
      // The same logits but for the rounding of one row or several.
      expect(logprob).toBeCloseTo(of(token), 4);
      expect(top.map((one) => one.token)).toEqual(best);
      expect(bytes).toEqual(model.tokenizer.tokenBytes(token));
    }
    expect(() => model.generate('Hi', { logprobs: 21 })).toThrow(
      expect.objectContaining({ where: 'logprobs' }),
    );
    expect(() => model.generate('Hi', { grammar: { kind: 'json-object' } })).toThrow(
      expect.objectContaining({ code: 'MODEL_OPTION', where: 'grammar' }),
    );
    await model.dispose();
  });
});
