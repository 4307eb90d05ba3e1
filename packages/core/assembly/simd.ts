// What relaxed SIMD does in one instruction and SIMD128 in several (the module is built twice, with and without it), and stores
// of a part of a vector.

/** Entry i of `table` for each byte i of `index`, all below 16: there the relaxed form is the same and spares a check. */
@inline export function look(table: v128, index: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(table, index);
  return i8x16.swizzle(table, index);
}

/** sum + a * b in f32. The relaxed form rounds once where the machine has such an instruction, else twice. */
@inline export function mulAdd(sum: v128, a: v128, b: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, sum);
  return f32x4.add(sum, f32x4.mul(a, b));
}

/** Writes the first `count` lanes, 1 to 4; all when it is more. */
@inline export function storePart(out: usize, y: v128, count: u32): void {
  if (count >= 4) {
    v128.store(out, y);
    return;
  }
  v128.store_lane<f32>(out, y, 0);
  if (count > 1) v128.store_lane<f32>(out, y, 1, 4);
  if (count > 2) v128.store_lane<f32>(out, y, 2, 8);
}
