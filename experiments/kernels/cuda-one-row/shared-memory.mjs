// `node experiments/kernels/cuda-one-row/shared-memory.mjs`: cycles of shared memory that a Walsh-Hadamard transform of a row takes,
// as it was (three stages a pass, values in order) and as kernels/rotate.cuh has it (up to four stages, `placeIn`). A warp's
// access takes as many cycles as the most different words of one of the 32 banks.

/** kernels/rotate.cuh, `placeIn`. */
const placeIn = (k) => k ^ ((k >> 5) & 15) ^ ((k >> 2) & 24) ^ ((k >> 4) & 16);

function cyclesOf(words) {
  const banks = new Array(32).fill(0);
  for (const word of new Set(words)) banks[word & 31]++;
  return Math.max(...banks);
}

/** One pass of `bits` stages over values `1 << shift` apart: every value read and written once. */
function passCycles(length, shift, bits, place) {
  let cycles = 0;
  for (let warp = 0; warp < length >> bits; warp += 32)
    for (let r = 0; r < 1 << bits; r++) {
      const words = [];
      for (let i = warp; i < Math.min(warp + 32, length >> bits); i++)
        words.push(place(((i >> shift) << (shift + bits)) + (i & ((1 << shift) - 1)) + (r << shift)));
      cycles += 2 * cyclesOf(words);
    }
  return cycles;
}

function transformCycles(stages, next, place) {
  let [cycles, passes] = [0, 0];
  for (let shift = 0; shift < stages; passes++) {
    const bits = next(stages - shift);
    cycles += passCycles(1 << stages, shift, bits, place);
    shift += bits;
  }
  return `${cycles} in ${passes} passes`;
}

const before = (left) => (left === 1 ? 1 : left === 2 || left === 4 ? 2 : 3);
const now = (left) => Math.ceil(left / Math.ceil(left / 4));
console.log('length  before  now');
for (const stages of [9, 10, 11, 12, 13, 14])
  console.log(
    [
      1 << stages,
      transformCycles(stages, before, (k) => k),
      transformCycles(stages, now, placeIn),
      `at least ${((2 << stages) / 32) * Math.ceil(stages / 4)}`,
    ].join('  '),
  );
