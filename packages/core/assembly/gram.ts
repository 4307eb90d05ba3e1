// Sums of products of columns, X^T Y, with f32 products summed over blocks of rows and doubles beyond that.
//
// A tile of 4 x 8 sums stays in registers while a block of rows passes: 6 loads for 8 products and sums, or 8 fused ones with
// relaxed SIMD. Columns are copied together first: where they lie, their distance is a row, which puts them all into a few
// sets of the first-level cache.
import { mulAdd } from './simd';

/** Rows of the matrix that are one unit of work: the constant of this name in src/backends/wasm/slots.ts. */
export const GRAM_STRIP: u32 = 48;
/** Rows of activations whose products are summed in f32. */
const ROWS: u32 = 256;
/** Bytes of the columns of a strip in scratch; behind them come 8 columns of the other side (GRAM_SCRATCH in slots.ts). */
const LEFT_BYTES: u32 = ROWS * GRAM_STRIP * 4;

/** Adds 4 f32 to the first `count` (1 to 4) of 4 doubles. */
@inline function addDoubles(sums: usize, v: v128, count: u32): void {
  const low = f64x2.promote_low_f32x4(v), high = f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  if (count >= 4) {
    v128.store(sums, f64x2.add(v128.load(sums), low));
    v128.store(sums, f64x2.add(v128.load(sums, 16), high), 16);
    return;
  }
  store<f64>(sums, load<f64>(sums) + f64x2.extract_lane(low, 0));
  if (count > 1) store<f64>(sums, load<f64>(sums, 8) + f64x2.extract_lane(low, 1), 8);
  if (count > 2) store<f64>(sums, load<f64>(sums, 16) + f64x2.extract_lane(high, 0), 16);
}

@inline function addRow(sums: usize, a: v128, b: v128, width: u32): void {
  addDoubles(sums, a, width);
  if (width > 4) addDoubles(sums + 32, b, width - 4);
}

/** Adds a tile of sums over rows `left` to `end`, left[row][4] times right[row][8], to its part of the matrix. */
function addTile(left: usize, end: usize, right: usize, sums: usize, stride: u32, height: u32, width: u32): void {
  const z = f32x4.splat(0);
  let a0 = z, a1 = z, b0 = z, b1 = z, c0 = z, c1 = z, d0 = z, d1 = z;
  for (; left < end; left += 16) {
    const u = v128.load(right), v = v128.load(right, 16);
    let x = v128.load32_splat(left);
    a0 = mulAdd(a0, x, u); a1 = mulAdd(a1, x, v);
    x = v128.load32_splat(left, 4);
    b0 = mulAdd(b0, x, u); b1 = mulAdd(b1, x, v);
    x = v128.load32_splat(left, 8);
    c0 = mulAdd(c0, x, u); c1 = mulAdd(c1, x, v);
    x = v128.load32_splat(left, 12);
    d0 = mulAdd(d0, x, u); d1 = mulAdd(d1, x, v);
    right += 32;
  }
  addRow(sums, a0, a1, width);
  if (height > 1) addRow(sums + stride, b0, b1, width);
  if (height > 2) addRow(sums + 2 * stride, c0, c1, width);
  if (height > 3) addRow(sums + 3 * stride, d0, d1, width);
}

/** One strip of the matrix and one block of `count` rows. */
function addStrip(
  x: usize, xStride: u32, y: usize, yStride: u32, symmetric: bool, count: u32, size: u32, strip: u32, sums: usize,
  scratch: usize,
): void {
  const top = strip * GRAM_STRIP, height = min<u32>(GRAM_STRIP, size - top), stride = size << 3;
  const right = scratch + LEFT_BYTES;
  let to = scratch;
  // Rows are padded to 16 bytes.
  for (let i: u32 = 0; i < height; i += 4) {
    const from = x + ((top + i) << 2);
    for (let t: u32 = 0; t < count; ++t) {
      v128.store(to, v128.load(from + t * xStride));
      to += 16;
    }
  }
  const tileBytes = count << 4;
  for (let column: u32 = symmetric ? top & ~7 : 0; column < size; column += 8) {
    const width = min<u32>(8, size - column), from = y + (column << 2);
    for (let t: u32 = 0; t < count; ++t) {
      const at = from + t * yStride, b = right + (t << 5);
      v128.store(b, v128.load(at));
      v128.store(b, width > 4 ? v128.load(at, 16) : f32x4.splat(0), 16);
    }
    for (let i: u32 = 0; i < height; i += 4) {
      // Of a symmetric matrix only tiles that reach the diagonal or lie right of it.
      if (symmetric && column + width <= top + i) break;
      const left = scratch + (i >> 2) * tileBytes;
      addTile(
        left, left + tileBytes, right, sums + <usize>(top + i) * stride + (column << 3), stride, min<u32>(4, height - i), width,
      );
    }
  }
}

/**
 * sums[i][j] += sum over rows of x[row][i] * y[row][j] in the strips first <= strip < end of a matrix of `size` rows. Where y
 * is x, only for j >= i and what tiles hold besides. Strides in bytes.
 */
export function accumulateGram(
  x: usize, xStride: u32, y: usize, yStride: u32, rows: u32, size: u32, sums: usize, scratch: usize, first: u32, end: u32,
): void {
  for (let row: u32 = 0; row < rows; row += ROWS) {
    const count = min<u32>(ROWS, rows - row);
    for (let strip = first; strip < end; ++strip) {
      addStrip(x + row * xStride, xStride, y + row * yStride, yStride, x == y, count, size, strip, sums, scratch);
    }
  }
}
