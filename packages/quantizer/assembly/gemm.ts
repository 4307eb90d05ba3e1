// The blocked matrix product that everything cubic here is made of, for f32 and f64.
//
// Goto's scheme: blocks of the right factor, then of the left, are packed into strips that a register tile reads front to
// back. Every element of C takes the same operations in the same order wherever it lies: for each DEPTH of the inner index
// one sum from zero, multiplications and additions rounded apart, which is then subtracted. So a result depends neither on
// the machine nor on how a caller cuts C into rows.

/** A register tile: this many rows of two vectors. Eight sums, so that 16 registers suffice. */
const TILE_ROWS: u32 = 4;
const TILE_BYTES: u32 = 32;
/** Inner length of a block: a strip of each factor, 8 KiB of f64, stays in a first-level cache. */
const DEPTH: u32 = 256;
/** Rows of a packed left block: 128 KiB of f64, for a second-level cache. A multiple of TILE_ROWS. */
const LEFT_ROWS: u32 = 64;
/** Bytes a row of a packed right block: 1 MiB in all. A multiple of TILE_BYTES. */
const RIGHT_BYTES: u32 = 4096;

const left = memory.data(131072, 64);
const right = memory.data(1048576, 64);
const edge = memory.data(128, 64);

/**
 * Packs `count` lines of `depth` values in strips of `width` lines, [strip][depth][width], the last one filled with zeros.
 * Value k of line i lies at `from + i * step + k * depthStep`.
 */
function pack<T>(from: usize, step: u32, depthStep: u32, count: u32, depth: u32, width: u32, to: usize): void {
  for (let i: u32 = 0; i < count; i += width) {
    const filled = min<u32>(width, count - i), strip = from + i * step;
    for (let k: u32 = 0; k < depth; ++k) {
      let at = strip + k * depthStep;
      const end = to + filled * sizeof<T>(), next = to + width * sizeof<T>();
      for (; to < end; to += sizeof<T>(), at += step) store<T>(to, load<T>(at));
      for (; to < next; to += sizeof<T>()) store<T>(to, <T>0);
    }
  }
}

/** C -= A B for one register tile and packed strips. */
function tile<T>(a: usize, b: usize, depth: u32, c: usize, stride: u32): void {
  const z = v128.splat<T>(<T>0), end = b + depth * TILE_BYTES;
  let r0 = z, s0 = z, r1 = z, s1 = z, r2 = z, s2 = z, r3 = z, s3 = z;
  for (; b < end; b += TILE_BYTES, a += TILE_ROWS * sizeof<T>()) {
    const p = v128.load(b), q = v128.load(b, 16);
    let x = v128.load_splat<T>(a);
    r0 = v128.add<T>(r0, v128.mul<T>(x, p)); s0 = v128.add<T>(s0, v128.mul<T>(x, q));
    x = v128.load_splat<T>(a, sizeof<T>());
    r1 = v128.add<T>(r1, v128.mul<T>(x, p)); s1 = v128.add<T>(s1, v128.mul<T>(x, q));
    x = v128.load_splat<T>(a, 2 * sizeof<T>());
    r2 = v128.add<T>(r2, v128.mul<T>(x, p)); s2 = v128.add<T>(s2, v128.mul<T>(x, q));
    x = v128.load_splat<T>(a, 3 * sizeof<T>());
    r3 = v128.add<T>(r3, v128.mul<T>(x, p)); s3 = v128.add<T>(s3, v128.mul<T>(x, q));
  }
  subtract<T>(c, r0, s0);
  subtract<T>(c + stride, r1, s1);
  subtract<T>(c + 2 * stride, r2, s2);
  subtract<T>(c + 3 * stride, r3, s3);
}

@inline function subtract<T>(c: usize, low: v128, high: v128): void {
  v128.store(c, v128.sub<T>(v128.load(c), low));
  v128.store(c, v128.sub<T>(v128.load(c, 16), high), 16);
}

/** A tile that reaches over the edge of C goes through a copy. */
function edgeTile<T>(a: usize, b: usize, depth: u32, c: usize, stride: u32, rows: u32, bytes: u32): void {
  for (let i: u32 = 0; i < rows; ++i) memory.copy(edge + i * TILE_BYTES, c + i * stride, bytes);
  tile<T>(a, b, depth, edge, TILE_BYTES);
  for (let i: u32 = 0; i < rows; ++i) memory.copy(c + i * stride, edge + i * TILE_BYTES, bytes);
}

/**
 * C [rows, columns] -= A [rows, depth] B [depth, columns]. Element (i, k) of A lies at `a + i * aRow + k * aColumn` and so
 * for B, which takes transposed factors too; a row of C is contiguous. C must not overlap A or B.
 */
export function subtractProduct<T>(
  c: usize, stride: u32, a: usize, aRow: u32, aColumn: u32, b: usize, bRow: u32, bColumn: u32,
  rows: u32, columns: u32, depth: u32,
): void {
  const lanes = TILE_BYTES / sizeof<T>(), rightColumns = RIGHT_BYTES / sizeof<T>();
  for (let j: u32 = 0; j < columns; j += rightColumns) {
    const width = min<u32>(rightColumns, columns - j);
    for (let k: u32 = 0; k < depth; k += DEPTH) {
      const inner = min<u32>(DEPTH, depth - k);
      pack<T>(b + k * bRow + j * bColumn, bColumn, bRow, width, inner, lanes, right);
      for (let i: u32 = 0; i < rows; i += LEFT_ROWS) {
        const height = min<u32>(LEFT_ROWS, rows - i), block = c + i * stride + j * sizeof<T>();
        pack<T>(a + i * aRow + k * aColumn, aRow, aColumn, height, inner, TILE_ROWS, left);
        for (let v: u32 = 0; v < width; v += lanes) {
          const strip = right + v * inner * sizeof<T>(), bytes = min<u32>(lanes, width - v) * sizeof<T>();
          for (let u: u32 = 0; u < height; u += TILE_ROWS) {
            const from = left + u * inner * sizeof<T>(), to = block + u * stride + v * sizeof<T>();
            const count = min<u32>(TILE_ROWS, height - u);
            if (count == TILE_ROWS && bytes == TILE_BYTES) tile<T>(from, strip, inner, to, stride);
            else edgeTile<T>(from, strip, inner, to, stride, count, bytes);
          }
        }
      }
    }
  }
}

/** The same for f32 with rows of all three contiguous; strides in bytes. */
export function subtractProduct32(
  c: usize, cStride: u32, a: usize, aStride: u32, b: usize, bStride: u32, rows: u32, columns: u32, depth: u32,
): void {
  subtractProduct<f32>(c, cStride, a, aStride, sizeof<f32>(), b, bStride, sizeof<f32>(), rows, columns, depth);
}
