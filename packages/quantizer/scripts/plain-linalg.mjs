// Plain loops in double precision, for scale beside the kernels.

/** Overwrites H [n, n] with the upper U, H^-1 = U^T U: an upper R with H = R R^T from the last column on, then its inverse. */
export function plainInverseCholesky(h, n) {
  for (let j = n - 1; j >= 0; j--) {
    let pivot = h[j * n + j];
    for (let k = j + 1; k < n; k++) pivot -= h[j * n + k] ** 2;
    const root = Math.sqrt(pivot);
    h[j * n + j] = root;
    for (let i = 0; i < j; i++) {
      let sum = h[i * n + j];
      for (let k = j + 1; k < n; k++) sum -= h[i * n + k] * h[j * n + k];
      h[i * n + j] = sum / root;
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    const row = h.slice(i * n, (i + 1) * n);
    const scale = 1 / row[i];
    h.fill(0, i * n, (i + 1) * n);
    for (let k = i + 1; k < n; k++) for (let j = k; j < n; j++) h[i * n + j] -= row[k] * h[k * n + j];
    for (let j = i + 1; j < n; j++) h[i * n + j] *= scale;
    h[i * n + i] = scale;
  }
}

/** C [rows, columns] -= A [rows, depth] B [depth, columns]. */
export function plainSubtractProduct(c, a, b, rows, columns, depth) {
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < depth; k++) {
      const factor = a[i * depth + k];
      for (let j = 0; j < columns; j++) c[i * columns + j] -= factor * b[k * columns + j];
    }
}
