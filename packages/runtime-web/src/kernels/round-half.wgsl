// f16 bits, rounded by integers to nearest, ties to even; finite values are limited to what f16 can hold.
fn roundHalf(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) {
    return 0x7e00u;
  }
  if (magnitude >= 0x477fe000u) {
    return sign | 0x7bffu;
  }
  if (magnitude >= 0x38800000u) {
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
  }
  if (magnitude < 0x33000000u) {
    return sign;
  }
  // A subnormal number: a multiple of 2^-24.
  let shift = 126u - (magnitude >> 23u);
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  let kept = mantissa >> shift;
  let cut = mantissa & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, cut > half || (cut == half && (kept & 1u) == 1u)));
}
