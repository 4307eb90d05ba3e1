// distance / step, rounded to f32 and then to the nearest integer, ties to even, within 0 and `most`, which is at most 255.
fn nearestCode(distance: f32, step: f32, most: u32) -> u32 {
  if (!(distance > 0.0)) {
    return 0u;
  }
  let near = distance / step;
  if (near > f32(most) + 0.75) {
    return most;
  }
  // An approximate quotient tells the code unless it is close to a tie.
  let below = floor(near);
  if (abs(near - below - 0.5) > 0x1p-10f) {
    return min(most, u32(below + select(0.0, 1.0, near - below > 0.5)));
  }
  return roundCode(divide(distance, step), most);
}

fn roundCode(exact: f32, most: u32) -> u32 {
  let whole = floor(min(exact, f32(most) + 1.0));
  let rest = exact - whole;
  let isUp = rest > 0.5 || (rest == 0.5 && (u32(whole) & 1u) == 1u);
  return min(most, u32(whole) + select(0u, 1u, isUp));
}
