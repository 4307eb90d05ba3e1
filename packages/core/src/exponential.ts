// exp(x) for x ≤ 0 using only +, −, ×, ÷ and √, so that every JavaScript engine gives the same bits: of Math.exp the last ones are each
// engine's own, and so would be the tokens of a seed. A vocabulary of them takes V8 a third of the time, too.
// x = (64 n + j) ln2/64 + r gives exp x = 2^n 2^(j/64) exp r (Tang 1989, "Table-driven implementation of the exponential function in
// IEEE floating-point arithmetic").

const STEPS = 64;
const STEPS_PER_UNIT = STEPS / Math.LN2;
/** ln2/64 in two parts; whole numbers below 2^21 times the first are exact. */
const [UPPER, LOWER] = [0.01083042469326756, 2.9815858269852933e-12];
/** Added and taken off again, it leaves the nearest whole number of what is below 2^51. */
const ROUNDER = 1.5 * 2 ** 52;
/** Below, exp is less than half of the least double. */
const LEAST = -745.2;

/** 2^(j/64): by square roots of 2, and products of them. */
const FRACTIONS = new Float64Array(STEPS).fill(1);
for (let bit = STEPS / 2, root = Math.SQRT2; bit >= 1; bit /= 2, root = Math.sqrt(root))
  for (let j = bit; j < STEPS; j++) if (j & bit) FRACTIONS[j]! *= root;

/** 2^-n. */
const POWERS = new Float64Array(1077).fill(1);
for (let n = 1; n < POWERS.length; n++) POWERS[n] = POWERS[n - 1]! / 2;

/**
 * @param x zero or less; -Infinity gives 0
 * @returns exp x, by no more than 4 units in the last place off
 */
export function exponential(x: number): number {
  if (!(x >= LEAST)) return x < 0 ? 0 : Number.NaN;
  const steps = x * STEPS_PER_UNIT + ROUNDER - ROUNDER;
  const r = x - steps * UPPER - steps * LOWER;
  const series = 1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120)))));
  return FRACTIONS[steps & (STEPS - 1)]! * series * POWERS[-(steps >> 6)]!;
}
