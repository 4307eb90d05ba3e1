// Of the score row of a query: the first position that it sees; the last is its own.
fn firstSeen(position: u32) -> u32 {
  return select(0u, position + 1u - uniforms.span, position + 1u > uniforms.span);
}
