// Of the inner two levels or, where the bitmap is above 1/2, the outer two, the one that the latent weight's sign says.
fn choiceOf(i: u32, first: u32) -> u32 {
  let sign = select(0u, 1u, latent[i] > 0.0);
  return select(1u + sign, 3u * sign, bitmap[i] > 0.5);
}
