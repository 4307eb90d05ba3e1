// Residual binarization of a run of values: one or two passes of mean, mean distance from it, and sign (BiLLM, arXiv 2402.04291).

export type Order = 1 | 2;

/**
 * Binarizes values[start ... end - 1] as mean1 +- alpha1, and at order 2 what that leaves as mean2 +- alpha2.
 * @param fit filled with mean1, alpha1, mean2, alpha2 (zeros at order 1, and for a run of none)
 * @returns the sum of squared errors
 */
export function fitRun(
  values: Float64Array,
  start: number,
  end: number,
  order: Order,
  fit: Float64Array,
): number {
  fit.fill(0);
  const count = end - start;
  if (count === 0) return 0;
  let sum = 0;
  for (let i = start; i < end; i++) sum += values[i]!;
  const mean1 = sum / count;
  let distance = 0;
  let squares = 0;
  for (let i = start; i < end; i++) {
    const rest = values[i]! - mean1;
    distance += Math.abs(rest);
    squares += rest * rest;
  }
  const alpha1 = distance / count;
  fit[0] = mean1;
  fit[1] = alpha1;
  if (order === 1) return squares - count * alpha1 * alpha1;

  sum = 0;
  for (let i = start; i < end; i++) sum += values[i]! < mean1 ? alpha1 : -alpha1;
  // The distances from mean1 sum to zero, so that signs alone move the second mean.
  const mean2 = sum / count;
  distance = 0;
  squares = 0;
  for (let i = start; i < end; i++) {
    const first = values[i]! - mean1;
    const rest = (first < 0 ? first + alpha1 : first - alpha1) - mean2;
    distance += Math.abs(rest);
    squares += rest * rest;
  }
  const alpha2 = distance / count;
  fit[2] = mean2;
  fit[3] = alpha2;
  return squares - count * alpha2 * alpha2;
}
