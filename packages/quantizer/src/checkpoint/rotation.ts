// Orthonormal rotations that spread outliers over all dimensions (QuIP, Chee et al. 2023; QuaRot, Ashkboos et al. 2024):
// random signs, a Walsh-Hadamard transform of the largest power of two that divides the dimension, and a cosine transform
// across what is left. Fast, and the same numbers on every machine.
import { createRandom } from '@duobit/core';

export interface Rotation {
  readonly size: number;
  /** x <- x R for the vector at `start` with `stride` between its elements, in place. */
  apply(values: Float32Array | Float64Array, start: number, stride: number): void;
}

/**
 * R = D (C kron H): D of random signs, C the orthonormal cosine transform (DCT-II) [m, m] and H the normalized Hadamard matrix
 * [n, n], where size = m n and n is the largest power of two that divides size, at most `block`.
 *
 * @param block Infinity mixes all dimensions; a power of two rotates blocks of that many and leaves C out.
 */
export function createRotation(size: number, seed: number, block = Number.POSITIVE_INFINITY): Rotation {
  const random = createRandom(seed);
  const signs = Float64Array.from({ length: size }, () => (random() < 0.5 ? -1 : 1));
  let n = 1;
  while (size % (2 * n) === 0 && 2 * n <= block) n *= 2;
  const m = size / n;
  const mixes = m > 1 && block === Number.POSITIVE_INFINITY;
  const cosines = mixes ? cosineTransform(m) : null;
  const scale = 1 / Math.sqrt(n);
  const work = new Float64Array(size);
  const column = new Float64Array(m);
  return {
    size,
    apply(values, start, stride) {
      for (let i = 0; i < size; i++) work[i] = signs[i]! * values[start + i * stride]! * scale;
      for (let first = 0; first < size; first += n) hadamard(work, first, n);
      if (cosines)
        for (let j = 0; j < n; j++) {
          for (let i = 0; i < m; i++) column[i] = work[i * n + j]!;
          for (let i = 0; i < m; i++) {
            let sum = 0;
            for (let k = 0; k < m; k++) sum += column[k]! * cosines[i * m + k]!;
            work[i * n + j] = sum;
          }
        }
      for (let i = 0; i < size; i++) values[start + i * stride] = work[i]!;
    },
  };
}

/** The unnormalized transform of n values, in place. */
function hadamard(values: Float64Array, first: number, n: number): void {
  for (let half = 1; half < n; half *= 2)
    for (let start = first; start < first + n; start += 2 * half)
      for (let i = start; i < start + half; i++) {
        const a = values[i]!;
        const b = values[i + half]!;
        values[i] = a + b;
        values[i + half] = a - b;
      }
}

function cosineTransform(m: number): Float64Array {
  return Float64Array.from({ length: m * m }, (_, at) => {
    const i = Math.floor(at / m);
    const k = at % m;
    return Math.sqrt((i === 0 ? 1 : 2) / m) * Math.cos((Math.PI * i * (2 * k + 1)) / (2 * m));
  });
}
