// Division of positive finite numbers, correctly rounded, by integers: WGSL's own may be off by 2.5 units in the last place.
fn divide(a: f32, b: f32) -> f32 {
  let x = split(bitcast<u32>(a));
  let y = split(bitcast<u32>(b));
  if (x.mantissa == 0u) {
    return 0.0;
  }
  var rest = x.mantissa;
  var exponent = x.exponent - y.exponent;
  if (rest < y.mantissa) {
    rest <<= 1u;
    exponent -= 1;
  }
  // The quotient is in [1, 2): 24 bits of it, and then what is left.
  var quotient = 0u;
  for (var i = 0u; i < 24u; i++) {
    quotient <<= 1u;
    if (rest >= y.mantissa) {
      rest -= y.mantissa;
      quotient |= 1u;
    }
    rest <<= 1u;
  }
  if (exponent >= -126) {
    quotient += select(0u, 1u, rest > y.mantissa || (rest == y.mantissa && (quotient & 1u) == 1u));
    // A carry out of the mantissa raises the exponent by itself.
    return bitcast<f32>((u32(exponent + 126) << 23u) + quotient);
  }
  let shift = u32(-126 - exponent);
  if (shift > 24u) {
    return 0.0;
  }
  let kept = quotient >> shift;
  let cut = quotient & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let isMore = cut > half || (cut == half && (rest > 0u || (kept & 1u) == 1u));
  return bitcast<f32>(kept + select(0u, 1u, isMore));
}

struct Parts {
  mantissa: u32,
  exponent: i32,
}

// A positive number as mantissa * 2^(exponent - 23), the mantissa with bit 23 set.
fn split(bits: u32) -> Parts {
  let exponent = i32(bits >> 23u);
  let mantissa = bits & 0x7fffffu;
  if (exponent > 0) {
    return Parts(mantissa | 0x800000u, exponent - 127);
  }
  if (mantissa == 0u) {
    return Parts(0u, -126);
  }
  let shift = countLeadingZeros(mantissa) - 8u;
  return Parts(mantissa << shift, -126 - i32(shift));
}
