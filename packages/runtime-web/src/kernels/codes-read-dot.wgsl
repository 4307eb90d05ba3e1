fn codeAt(at: u32, column: u32) -> u32 {
  let c = column % 32u;
  let i = c % 8u;
  return (codes[at + (column / 32u) * 8u + i] >> ((c / 8u) * 8u + 3u - i % 4u)) & 15u;
}
