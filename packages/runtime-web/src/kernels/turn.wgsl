// A pair turned by an angle. Every product is rounded, so that whoever turns it gets the same bits.
fn turnLower(a: f32, b: f32, cosine: f32, sine: f32) -> f32 {
  return keep(a * cosine) - keep(b * sine);
}

fn turnUpper(a: f32, b: f32, cosine: f32, sine: f32) -> f32 {
  return keep(a * sine) + keep(b * cosine);
}
