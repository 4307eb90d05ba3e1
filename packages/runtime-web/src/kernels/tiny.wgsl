// Numbers below 2^-100, which a device may flush to zero in part: lifted by 2^100 they are normal, and results are rounded to
// multiples of 2^-49, as subnormal ones are to multiples of 2^-149.
const LIFT: u32 = 100u << 23u;
const LEAST_NORMAL: f32 = 0x1p-26f;

fn lift(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let lifted = select(bitcast<f32>(magnitude + LIFT), f32(magnitude) * 0x1p-49f, magnitude < 0x800000u);
  return bitcast<f32>(bitcast<u32>(lifted) | (bits & 0x80000000u));
}

fn unlift(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let small = u32(abs(x) * 0x1p49f);
  return bitcast<f32>(select(magnitude - LIFT, small, abs(x) < LEAST_NORMAL) | (bits & 0x80000000u));
}

fn multiplyLifted(a: f32, x: f32) -> f32 {
  let product = keep(a * x);
  let rounded = keep(fma(a, x, 0x1.8p-26f)) - 0x1.8p-26f;
  return select(product, rounded, abs(product) < LEAST_NORMAL);
}
