// The formulas that training's operations are measured against: gradients against central differences.
import { describe, expect, it } from 'vitest';
import { slopes } from '../src/training/reference.ts';
import { TRAINING_CASES } from '../src/training/suite.ts';

/** Beyond so many values differences take long. */
const MOST_SLOPES = 600;

describe('formulas of gradients', () => {
  it.each(TRAINING_CASES.filter(({ slopes }) => slopes.length > 0))('$name', (one) => {
    for (const { name, at, f, slopes: formula } of one.slopes) {
      if (at.length > MOST_SLOPES) continue;
      const found = slopes(at, f);
      // Differences of fourth order at 2^-10 leave some 2^-40 of the fifth derivative, and of rounding 2^-43 of f.
      const scale = Math.max(1, ...Array.from(formula, Math.abs)) + Math.abs(f(at));
      found.forEach((slope, i) => {
        expect(Math.abs(slope - formula[i]!), `${name}[${i}]: ${slope}, ${formula[i]}`).toBeLessThan(
          2 ** -30 * scale,
        );
      });
    }
  });
});
