// Compares arrays element by element and says which elements are off, by how much and how much was allowed.

/** An expected value with the error that is allowed to it. */
export interface Expectation {
  readonly value: number;
  /** Largest allowed |actual - value|; 0 demands the same f32 bit for bit (but for the sign of zero). */
  readonly allowed: number;
}

const SHOWN = 8;

/**
 * Whether every actual value is allowed.
 * @param label what is compared, for the message
 * @throws Error with a table: index, actual, expected, allowed
 */
export function compareValues(
  label: string,
  actual: ArrayLike<number>,
  expected: readonly Expectation[],
): void {
  if (actual.length !== expected.length)
    throw new Error(`${label}: ${actual.length} values, expected ${expected.length}`);
  const lines: string[] = [];
  let failures = 0;
  for (let i = 0; i < expected.length; i++) {
    const { value, allowed } = expected[i]!;
    const found = actual[i]!;
    // An exact f32 result is the double-precision one rounded once.
    const error = allowed === 0 ? Math.abs(found - Math.fround(value)) : Math.abs(found - value);
    const bothNaN = Number.isNaN(found) && Number.isNaN(value);
    // Of equal infinite values the error is NaN.
    if (bothNaN || found === value || error <= allowed) continue;
    if (failures++ < SHOWN)
      lines.push(
        `  [${i}] actual ${found}  expected ${value}  error ${error.toExponential(3)}  allowed ${allowed.toExponential(3)}`,
      );
  }
  if (failures === 0) return;
  const more = failures > SHOWN ? `\n  and ${failures - SHOWN} more` : '';
  throw new Error(`${label}: ${failures} of ${expected.length} values are off\n${lines.join('\n')}${more}`);
}

/** Expectations that must be met exactly. */
export function exactly(values: Iterable<number>): Expectation[] {
  return Array.from(values, (value) => ({ value, allowed: 0 }));
}

/**
 * The same f32 values bit for bit: zeros have signs, but any NaN is as good as another.
 * @throws Error that names the first that differs
 */
export function demandBits(label: string, found: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (found.length !== expected.length)
    throw new Error(`${label}: ${found.length} values, expected ${expected.length}`);
  for (let i = 0; i < expected.length; i++)
    if (!Object.is(found[i], expected[i]))
      throw new Error(`${label}: [${i}] is ${found[i]}, expected ${expected[i]}`);
}
