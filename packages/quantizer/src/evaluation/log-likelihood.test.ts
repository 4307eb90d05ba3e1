// The log-likelihood by table against exponentials of the platform, and at the ends of its range.
import { createRandom } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { negativeLogLikelihood } from './log-likelihood.ts';

describe('negativeLogLikelihood', () => {
  it('survives large logits and stays exact for certain ones', () => {
    expect(negativeLogLikelihood(Float32Array.of(3e38, 0, 0), 0)).toBe(0);
    expect(negativeLogLikelihood(Float32Array.of(1000, 1000), 1)).toBeCloseTo(Math.log(2), 12);
    expect(negativeLogLikelihood(Float32Array.of(-80, 0), 0)).toBeCloseTo(80, 10);
  });

  it('agrees with plain exponentials', () => {
    const random = createRandom(3);
    for (const spread of [0.01, 1, 20, 70, 500]) {
      const logits = Float32Array.from({ length: 3000 }, () => spread * random());
      const largest = Math.max(...logits);
      const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
      const expected = Math.log(sum) + largest - logits[7]!;
      expect(Math.abs(negativeLogLikelihood(logits, 7) - expected)).toBeLessThan(2e-10);
    }
  });

  it('is no number when a logit is none, and leaves out those of no weight', () => {
    expect(negativeLogLikelihood(Float32Array.of(1, Number.NaN), 0)).toBeNaN();
    expect(negativeLogLikelihood(Float32Array.of(1, Number.POSITIVE_INFINITY), 0)).toBeNaN();
    expect(negativeLogLikelihood(Float32Array.of(Number.NEGATIVE_INFINITY, 2, 2), 1)).toBeCloseTo(
      Math.log(2),
      12,
    );
  });
});
