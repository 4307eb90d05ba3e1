// The rotation of a linear layer's input, written to be read: what docs/format.md, "Input rotations", says. Backends are
// measured against it.
//
// A Walsh-Hadamard transform spreads an outlier over all values (QuaRot, Ashkboos et al. 2024). It needs a power of two; two
// transforms, of the first and of the last P values, reach every value of any length. Rudin-Shapiro signs, whose own
// transform is flat, before the first spread what is constant; others of that sequence before the second keep it from
// undoing the first.

/** 'hadamard': x' = x R as `rotateInput` does; the layer's stored weights are W R, so that x' (W R)^T = x W^T. */
export type InputRotation = 'hadamard';

/** The sign of place 5 k, too, then follows from 32 bits. */
export const MAX_ROTATED_COLUMNS = 2 ** 29;

/** Value k takes the sign of place stride * k of the sequence. */
const FIRST_SIGNS = 1;
const SECOND_SIGNS = 5;

/** The largest power of two that is at most `length`. */
export function rotationSpan(length: number): number {
  return 2 ** Math.floor(Math.log2(length));
}

/** The Rudin-Shapiro sequence: -1 where the binary digits of k hold "11" an odd number of times. */
export function rotationSign(k: number): 1 | -1 {
  let pairs = k & (k >>> 1);
  let sign: 1 | -1 = 1;
  for (; pairs !== 0; pairs &= pairs - 1) sign = sign === 1 ? -1 : 1;
  return sign;
}

/**
 * x R for one row, in place: signs, the transform of the first P values; and, unless P is all, other signs and the transform
 * of the last P. In a Float32Array each sum and product is rounded to f32, in the order that the format fixes.
 */
export function rotateInput(row: Float32Array | Float64Array): void {
  const span = rotationSpan(row.length);
  applySigns(row, FIRST_SIGNS);
  transform(row.subarray(0, span));
  if (span === row.length) return;
  applySigns(row, SECOND_SIGNS);
  transform(row.subarray(row.length - span));
}

/** The inverse, x R^T: makes a layer's weights of those that are stored. */
export function undoInputRotation(row: Float32Array | Float64Array): void {
  const span = rotationSpan(row.length);
  if (span < row.length) {
    transform(row.subarray(row.length - span));
    applySigns(row, SECOND_SIGNS);
  }
  transform(row.subarray(0, span));
  applySigns(row, FIRST_SIGNS);
}

function applySigns(row: Float32Array | Float64Array, stride: number): void {
  for (let k = 0; k < row.length; k++) row[k] = row[k]! * rotationSign(stride * k);
}

/** The orthonormal Walsh-Hadamard transform in natural order; the scale comes last, rounded to f32. */
function transform(values: Float32Array | Float64Array): void {
  for (let half = 1; half < values.length; half *= 2)
    for (let start = 0; start < values.length; start += 2 * half)
      for (let i = start; i < start + half; i++) {
        const [a, b] = [values[i]!, values[i + half]!];
        values[i] = a + b;
        values[i + half] = a - b;
      }
  const scale = Math.fround(1 / Math.sqrt(values.length));
  for (let i = 0; i < values.length; i++) values[i] = values[i]! * scale;
}
