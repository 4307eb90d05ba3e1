fn choiceOf(i: u32, first: u32) -> u32 {
  return u32(codes[i]) & 3u;
}
