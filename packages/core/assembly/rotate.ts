// Rotation of a layer's input (docs/format.md, "Input rotations"): signs, a Walsh-Hadamard transform of the first `span` values,
// other signs, a transform of the last `span`. Every sum and product is rounded to f32, in the format's order; a stage's sums
// do not depend on each other, so several stages are taken while their values are in registers, which gives the same bits.
// Nothing here may be fused: codes are made of these values and have to be the same on every backend.

/** Lanes whose sign bit is to be flipped: those that take a difference in the stages of 1 and of 2. */
@inline function differences1(): v128 {
  return i32x4(0, <i32>0x80000000, 0, <i32>0x80000000);
}
@inline function differences2(): v128 {
  return i32x4(0, 0, <i32>0x80000000, <i32>0x80000000);
}

/** The stages of 1 and 2, within a vector. */
@inline function crossLanes(v: v128): v128 {
  v = f32x4.add(v128.shuffle<f32>(v, v, 1, 0, 3, 2), v128.xor(v, differences1()));
  return f32x4.add(v128.shuffle<f32>(v, v, 2, 3, 0, 1), v128.xor(v, differences2()));
}

/**
 * Two stages of values that lie `bytes` apart, to where y points at the first of four vectors; and the scale, when they are the
 * last of a transform.
 */
@inline function crossFour(y: usize, bytes: u32, a: v128, b: v128, c: v128, d: v128, isLast: bool, scale: v128): void {
  const s = f32x4.add(a, b), t = f32x4.sub(a, b), u = f32x4.add(c, d), v = f32x4.sub(c, d);
  a = f32x4.add(s, u);
  b = f32x4.add(t, v);
  c = f32x4.sub(s, u);
  d = f32x4.sub(t, v);
  if (isLast) {
    a = f32x4.mul(a, scale);
    b = f32x4.mul(b, scale);
    c = f32x4.mul(c, scale);
    d = f32x4.mul(d, scale);
  }
  v128.store(y, a);
  v128.store(y + bytes, b);
  v128.store(y + (bytes << 1), c);
  v128.store(y + (bytes << 1) + bytes, d);
}

/** y = x * signs, for `count` values. y may be x. */
function multiply(x: usize, signs: usize, y: usize, count: u32): void {
  const whole = (count & ~3) << 2, bytes = count << 2;
  for (let i: u32 = 0; i < whole; i += 16) v128.store(y + i, f32x4.mul(v128.load(x + i), v128.load(signs + i)));
  for (let i = whole; i < bytes; i += 4) store<f32>(y + i, load<f32>(x + i) * load<f32>(signs + i));
}

/** The transform of what is too short for vectors, in place. */
function transformShort(y: usize, length: u32, scale: f32): void {
  for (let half: u32 = 1; half < length; half <<= 1) {
    for (let i: u32 = 0; i < length; ++i) {
      if (i & half) continue;
      const at = y + (i << 2), other = at + (half << 2), a = load<f32>(at), b = load<f32>(other);
      store<f32>(at, a + b);
      store<f32>(other, a - b);
    }
  }
  for (const end = y + (length << 2); y < end; y += 4) store<f32>(y, load<f32>(y) * scale);
}

/** One stage of values that lie `half` bytes apart, in place. */
function crossTwo(y: usize, bytes: u32, half: u32): void {
  for (let start: u32 = 0; start < bytes; start += half << 1) {
    for (let at = y + start, end = at + half; at < end; at += 16) {
      const a = v128.load(at), b = v128.load(at + half);
      v128.store(at, f32x4.add(a, b));
      v128.store(at + half, f32x4.sub(a, b));
    }
  }
}

/** y = the transform of x * signs. `length` is a power of two. y may be x. */
function transform(x: usize, signs: usize, y: usize, length: u32, scale: f32): void {
  if (length < 64) {
    multiply(x, signs, y, length);
    return transformShort(y, length, scale);
  }
  const bytes = length << 2, scale4 = f32x4.splat(scale);
  for (let i: u32 = 0; i < bytes; i += 64) {
    const from = x + i, by = signs + i;
    crossFour(
      y + i, 16,
      crossLanes(f32x4.mul(v128.load(from), v128.load(by))),
      crossLanes(f32x4.mul(v128.load(from, 16), v128.load(by, 16))),
      crossLanes(f32x4.mul(v128.load(from, 32), v128.load(by, 32))),
      crossLanes(f32x4.mul(v128.load(from, 48), v128.load(by, 48))),
      false, scale4,
    );
  }
  let half: u32 = 64;
  // Of an odd number of stages one is taken alone.
  if (ctz(length) & 1) {
    crossTwo(y, bytes, half);
    half <<= 1;
  }
  for (; half < bytes; half <<= 2) {
    const isLast = half << 2 == bytes;
    for (let start: u32 = 0; start < bytes; start += half << 2) {
      for (let at = y + start, end = at + half; at < end; at += 16) {
        const second = at + half, third = second + half, fourth = third + half;
        crossFour(at, half, v128.load(at), v128.load(second), v128.load(third), v128.load(fourth), isLast, scale4);
      }
    }
  }
}

/**
 * out = x R. `signs`: `width` of them before the first transform, then `width` before the second (src/backends/wasm/rotation.ts).
 * `out` may be `input`. The padding of rows is left alone.
 */
export function rotateInput(
  input: usize, inputStride: u32, signs: usize, out: usize, outStride: u32, rows: u32, width: u32, span: u32, scale: f32,
): void {
  const rest = width - span, second = signs + (width << 2), last = rest << 2, end = span << 2;
  for (let row: u32 = 0; row < rows; ++row) {
    const x = input + row * inputStride, y = out + row * outStride;
    transform(x, signs, y, span, scale);
    if (rest == 0) continue;
    multiply(x + end, signs + end, y + end, rest);
    multiply(y, second, y, rest);
    transform(y + last, second + last, y + last, span, scale);
  }
}
