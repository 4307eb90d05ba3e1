// Codes as bit planes, for counts of bits: bit c of word j of 32 columns is bit j of the code of column c.
var<workgroup> blockPlanes: array<atomic<u32>, 4u * BLOCKS>;

fn clearBlocks(index: u32) {
  for (var i = index; i < 4u * BLOCKS; i += THREADS) {
    atomicStore(&blockPlanes[i], 0u);
  }
  workgroupBarrier();
}

fn writeWord(at: u32, word: u32, code: vec4<u32>) {
  for (var j = 0u; j < 4u; j++) {
    let bits = (code >> vec4<u32>(j)) & vec4<u32>(1u);
    let plane = bits.x | (bits.y << 8u) | (bits.z << 16u) | (bits.w << 24u);
    atomicOr(&blockPlanes[4u * (word / 8u) + j], plane << (word % 8u));
  }
}

fn finishBlock(at: u32, block: u32) {
  var sum = 0u;
  for (var j = 0u; j < 4u; j++) {
    let plane = atomicLoad(&blockPlanes[4u * block + j]);
    codes[at + 4u * block + j] = plane;
    sum += countOneBits(plane) << j;
  }
  codes[at + BLOCKS * 4u + block] = sum;
}
