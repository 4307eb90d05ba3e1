// Codes as bytes, for packed dot products: byte b of word i of 32 columns is the code of column i + 8 b times 2^(3 - i % 4).
// So bits of a bitmap, masked where they are, times these bytes have the same factor in every second four of words.
var<workgroup> blockSums: array<atomic<u32>, BLOCKS>;

fn clearBlocks(index: u32) {
  for (var block = index; block < BLOCKS; block += THREADS) {
    atomicStore(&blockSums[block], 0u);
  }
  workgroupBarrier();
}

fn writeWord(at: u32, word: u32, code: vec4<u32>) {
  let bytes = code.x | (code.y << 8u) | (code.z << 16u) | (code.w << 24u);
  codes[at + word] = bytes << (3u - word % 4u);
  atomicAdd(&blockSums[word / 8u], code.x + code.y + code.z + code.w);
}

fn finishBlock(at: u32, block: u32) {
  codes[at + BLOCKS * 8u + block] = atomicLoad(&blockSums[block]);
}
