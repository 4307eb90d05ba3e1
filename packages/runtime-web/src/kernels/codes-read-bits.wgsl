fn codeAt(at: u32, column: u32) -> u32 {
  let word = at + (column / 32u) * 4u;
  let c = column % 32u;
  var code = 0u;
  for (var j = 0u; j < 4u; j++) {
    code |= ((codes[word + j] >> c) & 1u) << j;
  }
  return code;
}
