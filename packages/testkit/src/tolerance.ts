// How far a result in f32 may lie from the exact one, derived and not tried out. docs/numerics.md explains each bound; the
// error analysis is Higham, "Accuracy and Stability of Numerical Algorithms" (2002), chapters 2 to 4.

/** Unit roundoff of f32. */
export const UNIT = 2 ** -24;

/** Relative error allowed to a backend's exp. */
export const EXP_ERROR = 2 ** -20;

/** Absolute slack for results that round to subnormal numbers or are flushed to zero, once an operation. */
export const UNDERFLOW = 2 ** -126;

/** gamma_n = n u / (1 - n u): n roundings in a row change a value by at most this fraction (Higham, lemma 3.1). */
export function gamma(n: number): number {
  return (n * UNIT) / (1 - n * UNIT);
}

/**
 * Dot products of K terms with f32 weights, in any order of summation: K products and sums, the rounding of the result,
 * and a few roundings of scales.
 * @param absolute sum over k of |weight[k] x[k]|
 */
export function dotBound(columns: number, absolute: number): number {
  return gamma(columns + 8) * absolute + columns * UNDERFLOW;
}

/** Groups whose activations are all smaller may count as zero where activations are rounded to 16 bits. */
export const SMALLEST_GROUP = 2 ** -110;

/**
 * int8 and int4 weights: a backend may round the activations of a group to 16-bit integers with the step
 * max|x| / 32767, an error of at most half a step in each, that is max|x| * 2^-16 * (1 + 2^-15); the factor 1 + 2^-8
 * leaves room for rounding in the step itself.
 * @param slack sum over groups of max|x| * sum|weight|
 * @param flushed the same over groups with max|x| below SMALLEST_GROUP
 */
export function integerDotBound(columns: number, absolute: number, slack: number, flushed: number): number {
  return dotBound(columns, absolute) + slack * 2 ** -16 * (1 + 2 ** -8) + flushed;
}

/**
 * W(1+1) weights on f32 activations, by levels or by masked sums: at most K sums, four products and sums a group, and the
 * roundings of the four coefficients.
 * @param absolute sum over k of magnitude[k] |x[k]| (see MadeTensor.magnitudes)
 */
export function w11Bound(columns: number, groups: number, absolute: number): number {
  return gamma(columns + 4 * groups + 16) * absolute + columns * UNDERFLOW;
}

/**
 * W(1+1) weights on 4-bit codes. Masked sums are exact, so only the products with coefficients, their sum over groups,
 * the row's constant and the last line round; each contribution passes through at most 4 groups + 16 roundings.
 * @param codes step * sum over k of magnitude[k] code[k]
 * @param constant |lo| * sum over k of magnitude[k]
 */
export function w11CodedBound(groups: number, codes: number, constant: number): number {
  return gamma(4 * groups + 16) * (codes + constant) + groups * UNDERFLOW;
}

/**
 * RMS norm: the mean square has only positive terms, so its relative error is gamma_(K + 2), halved by the square root;
 * root, reciprocal and two products add a few roundings.
 */
export function normBound(width: number, result: number): number {
  return gamma(width / 2 + 8) * Math.abs(result) + UNDERFLOW;
}

/** Rotation by an angle taken in double precision: cosine and sine rounded to f32, two products, one sum. */
export function rotationBound(a: number, b: number): number {
  return gamma(4) * (Math.abs(a) + Math.abs(b)) + UNDERFLOW;
}

/**
 * Softmax attention for one query head. A score's error is `scoreError`; subtracting the maximum doubles it and rounds;
 * so each weight has the relative error rho, in numerator and denominator alike. A backend may take the positions in parts
 * of 64 or more; each further part may scale a weight by one more exponential.
 * @param scoreError largest scoreErrorFactor() * sum|q k| / sqrt(headSize) over the positions
 * @param range largest minus smallest score
 * @param spread sum over positions of share * |value|, of a cache with codes share * (|offset| + step * code)
 * @param largest max |value|, for shares that underflow
 * @param rounded of a cache with codes what rounding the shares to 16 bits may change, see roundingError
 */
export function attentionBound(
  positions: number,
  scoreError: number,
  range: number,
  spread: number,
  largest: number,
  rounded = 0,
): number {
  // Parts may begin up to 15 positions before the first that is seen.
  const rescalings = Math.floor((positions + 15) / 64);
  const factor = (1 + EXP_ERROR) ** (1 + rescalings);
  const rho = Math.exp(2 * scoreError + UNIT * range) * factor - 1;
  return (
    (2 * (rho + gamma(positions + 8 + 2 * rescalings)) * spread + rounded) * (1 + 2 * rho) +
    positions * 2 ** -100 * largest
  );
}

/**
 * Attention over codes: a backend may round the queries of a group of dimensions, and the shares times steps of a group of
 * positions, to 16-bit integers with the step max / 32767. Each is then off by at most half a step, max * 2^-16 (1 + 2^-15); the
 * factor 1 + 2^-5 leaves room for what 32767 / max, the product with it and the step itself round. Groups below SMALLEST_GROUP
 * may count as zero.
 */
export function roundingError(max: number): number {
  return Math.max(2 ** -16 * (1 + 2 ** -5) * max, SMALLEST_GROUP);
}

/**
 * Roundings of a score: the scaled query, headSize products and sums; with codes also a product with the step and one with
 * the offset for each group.
 */
export function scoreErrorFactor(headSize: number): number {
  return gamma(headSize + 2 * Math.ceil(headSize / 32) + 4);
}

/** gate * sigmoid(gate) * up: an exp, a sum, a division and two products. */
export function gateBound(result: number, gate: number, up: number): number {
  return (EXP_ERROR + gamma(6)) * Math.abs(result) + 2 ** -100 * Math.abs(gate * up) + UNDERFLOW;
}

/**
 * Sums of products over runs: within a run at most its rows in f32, each product and sum rounded; between runs and blocks
 * in double precision; rounded when read.
 * @param longest most rows in one run
 * @param rows rows of all runs, each of which may lose a product to underflow
 * @param absolute sum over all rows of |x y|
 */
export function gramBound(longest: number, rows: number, absolute: number): number {
  return gamma(longest + 2) * absolute + rows * UNDERFLOW;
}
