// Codes as bytes, for packed dot products: byte b of word i of 32 columns is the code of column i + 8 b times 2^(3 - i % 4).
// So bits of a bitmap, masked where they are, times these bytes have the same factor in every second four of words.
const CODE_WORDS: u32 = 8u;

fn writeCodes(at: u32, index: u32) {
  for (var word = index; word < op.words * CODE_WORDS; word += THREADS) {
    let i = word % 8u;
    let column = (word / 8u) * 32u + i;
    let bytes = codeAt(column) | (codeAt(column + 8u) << 8u) | (codeAt(column + 16u) << 16u) | (codeAt(column + 24u) << 24u);
    codes[at + word] = bytes << (3u - i % 4u);
  }
}

fn sumCodes(at: u32) -> u32 {
  var sum = 0u;
  for (var i = 0u; i < 8u; i++) {
    let bytes = codes[at + i] >> (3u - i % 4u);
    sum += (bytes & 15u) + ((bytes >> 8u) & 15u) + ((bytes >> 16u) & 15u) + ((bytes >> 24u) & 15u);
  }
  return sum;
}
