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

/** Stages `half` and 2 * half of the values that lie `bytes` apart; y points at the first of four vectors. */
@inline function crossFour(y: usize, bytes: u32, a: v128, b: v128, c: v128, d: v128): void {
  const s = f32x4.add(a, b), t = f32x4.sub(a, b), u = f32x4.add(c, d), v = f32x4.sub(c, d);
  v128.store(y, f32x4.add(s, u));
  v128.store(y + bytes, f32x4.add(t, v));
  v128.store(y + (bytes << 1), f32x4.sub(s, u));
  v128.store(y + (bytes << 1) + bytes, f32x4.sub(t, v));
}

/** The stages from `half` on, in place, for what is too short for vectors. */
function transformShort(y: usize, length: u32): void {
  for (let half: u32 = 1; half < length; half <<= 1) {
    for (let i: u32 = 0; i < length; ++i) {
      if (i & half) continue;
      const at = y + (i << 2), other = at + (half << 2), a = load<f32>(at), b = load<f32>(other);
      store<f32>(at, a + b);
      store<f32>(other, a - b);
    }
  }
}

/** y = the transform of x * factors, without its scale. `length` is a power of two. y may be x. */
function transform(x: usize, factors: usize, y: usize, length: u32): void {
  if (length < 16) {
    multiply(x, factors, y, length);
    transformShort(y, length);
    return;
  }
  const bytes = length << 2;
  for (let i: u32 = 0; i < bytes; i += 64) {
    const from = x + i, signs = factors + i;
    crossFour(
      y + i, 16,
      crossLanes(f32x4.mul(v128.load(from), v128.load(signs))),
      crossLanes(f32x4.mul(v128.load(from, 16), v128.load(signs, 16))),
      crossLanes(f32x4.mul(v128.load(from, 32), v128.load(signs, 32))),
      crossLanes(f32x4.mul(v128.load(from, 48), v128.load(signs, 48))),
    );
  }
  let half: u32 = 64;
  for (; half << 2 <= bytes; half <<= 2) {
    for (let start: u32 = 0; start < bytes; start += half << 2) {
      for (let at = y + start, end = at + half; at < end; at += 16) {
        const second = at + half, third = second + half;
        crossFour(at, half, v128.load(at), v128.load(second), v128.load(third), v128.load(third + half));
      }
    }
  }
  if (half == bytes) return;
  for (let at = y, end = y + half; at < end; at += 16) {
    const a = v128.load(at), b = v128.load(at + half);
    v128.store(at, f32x4.add(a, b));
    v128.store(at + half, f32x4.sub(a, b));
  }
}

/** y = x * factors, for `count` values. y may be x. */
function multiply(x: usize, factors: usize, y: usize, count: u32): void {
  const whole = (count & ~3) << 2, bytes = count << 2;
  for (let i: u32 = 0; i < whole; i += 16) v128.store(y + i, f32x4.mul(v128.load(x + i), v128.load(factors + i)));
  for (let i = whole; i < bytes; i += 4) store<f32>(y + i, load<f32>(x + i) * load<f32>(factors + i));
}

/** y *= scale, for a power of two of values. */
function rescale(y: usize, length: u32, scale: f32): void {
  if (length < 4) {
    for (let i: u32 = 0; i < length; ++i) store<f32>(y + (i << 2), load<f32>(y + (i << 2)) * scale);
    return;
  }
  const scale4 = f32x4.splat(scale);
  for (const end = y + (length << 2); y < end; y += 16) v128.store(y, f32x4.mul(v128.load(y), scale4));
}

/**
 * out = x R. `factors`: `width` for the values that enter the first transform, then `width` for those that come out of it
 * or passed it by, and enter the second (src/backends/wasm/rotation.ts). `out` may be `input`. The padding of rows is left alone.
 */
export function rotateInput(
  input: usize, inputStride: u32, factors: usize, out: usize, outStride: u32, rows: u32, width: u32, span: u32, scale: f32,
): void {
  const rest = width - span, between = factors + (width << 2), last = rest << 2;
  for (let row: u32 = 0; row < rows; ++row) {
    const x = input + row * inputStride, y = out + row * outStride;
    transform(x, factors, y, span);
    if (rest > 0) {
      if (x != y) memory.copy(y + (span << 2), x + (span << 2), last);
      multiply(y, between, y, rest);
      transform(y + last, between + last, y + last, span);
    }
    rescale(y + last, span, scale);
  }
}
