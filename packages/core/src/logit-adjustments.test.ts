// Bias, penalties and masks against their definitions.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adjustLogits, checkAdjustments, isNeutral } from './logit-adjustments.ts';

const small = fc.integer({ min: -64, max: 64 }).map((n) => n / 32);

describe('adjustments of logits', () => {
  it('are those of the API: bias, and penalties by how often a token was written', () => {
    fc.assert(
      fc.property(
        fc.array(small, { minLength: 1, maxLength: 40 }),
        fc.array(fc.tuple(fc.nat(50), small), { maxLength: 5 }),
        fc.array(fc.nat(45), { maxLength: 30 }),
        small,
        small,
        fc.infiniteStream(fc.boolean()),
        fc.boolean(),
        (values, bias, written, presencePenalty, frequencyPenalty, bits, isMasked) => {
          const logits = Float32Array.from(values);
          const logitBias = Object.fromEntries(bias);
          const counts = new Map<number, number>();
          for (const token of written) counts.set(token, (counts.get(token) ?? 0) + 1);
          const isAllowed = values.map(() => !isMasked || bits.next().value);
          const mask = new Int32Array(2);
          for (const [token, is] of isAllowed.entries()) if (is) mask[token >> 5]! |= 1 << (token & 31);
          const options = { presencePenalty, frequencyPenalty, logitBias };
          const found = adjustLogits(logits, options, counts, isMasked ? mask : null);
          const expected = values.map((value, token) => {
            const count = written.filter((one) => one === token).length;
            const penalty = count * frequencyPenalty + (count > 0 ? presencePenalty : 0);
            return isAllowed[token] ? value + (logitBias[token] ?? 0) - penalty : Number.NEGATIVE_INFINITY;
          });
          // Multiples of 1/32 below 2^12 are exact in f32.
          expect(Array.from(found)).toEqual(expected);
          expect(Array.from(logits)).toEqual(values);
        },
      ),
    );
  });

  it('leave logits alone where there are none, and refuse what is no number', () => {
    const logits = Float32Array.of(1, 2);
    expect(adjustLogits(logits, {}, new Map([[0, 3]]), null)).toBe(logits);
    expect(isNeutral({ presencePenalty: 0, logitBias: {} })).toBe(true);
    expect(isNeutral({ logitBias: { 3: 1 } })).toBe(false);
    for (const options of [
      { presencePenalty: Number.NaN },
      { frequencyPenalty: Number.POSITIVE_INFINITY },
      { logitBias: { 3: Number.NaN } },
    ])
      expect(() => checkAdjustments(options)).toThrow(expect.objectContaining({ code: 'SAMPLER_OPTION' }));
  });
});
