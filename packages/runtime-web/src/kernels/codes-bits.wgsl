// Codes as bit planes, for counts of bits: bit c of word j of 32 columns is bit j of the code of column c.
const CODE_WORDS: u32 = 4u;

fn writeCodes(at: u32, index: u32) {
  for (var word = index; word < op.words; word += THREADS) {
    var planes = vec4<u32>(0u);
    for (var c = 0u; c < 32u; c++) {
      let code = codeAt(word * 32u + c);
      planes |= ((vec4<u32>(code) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(c);
    }
    for (var j = 0u; j < 4u; j++) {
      codes[at + word * 4u + j] = planes[j];
    }
  }
}

fn sumCodes(at: u32) -> u32 {
  var sum = 0u;
  for (var j = 0u; j < 4u; j++) {
    sum += countOneBits(codes[at + j]) << j;
  }
  return sum;
}
