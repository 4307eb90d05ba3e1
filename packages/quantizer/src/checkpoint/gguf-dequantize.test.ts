// Block formats against expectations that are written weight by weight from the description of the layouts: weight k
// of a block is asked for alone, so that no loop order is shared with the code under test.
import { f16ToF32, f32ToF16 } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEQUANTIZE } from './gguf-dequantize.ts';
import { READABLE_TYPES } from './gguf-types.ts';

const half = (block: Uint8Array, at: number): number => f16ToF32(block[at]! + 256 * block[at + 1]!);
const signed = (byte: number): number => (byte > 127 ? byte - 256 : byte);
/** `width` bits of a little-endian bit string, beginning at bit `at`. */
function bits(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) {
    const bit = at + i;
    value += ((bytes[Math.floor(bit / 8)]! >> (bit % 8)) & 1) * 2 ** i;
  }
  return value;
}

/** Weight k of one block. */
const WEIGHT: Record<string, (block: Uint8Array, k: number) => number> = {
  Q8_0: (block, k) => half(block, 0) * signed(block[2 + k]!),
  Q4_0: (block, k) => half(block, 0) * (bits(block, 8 * (2 + (k % 16)) + 4 * Math.floor(k / 16), 4) - 8),
  Q4_1: (block, k) =>
    half(block, 0) * bits(block, 8 * (4 + (k % 16)) + 4 * Math.floor(k / 16), 4) + half(block, 2),
  Q4_K: (block, k) => {
    const run = Math.floor(k / 32);
    const scales = block.subarray(4, 16);
    const [scale, minimum] =
      run < 4
        ? [bits(scales, 8 * run, 6), bits(scales, 8 * (run + 4), 6)]
        : [
            bits(scales, 8 * (run + 4), 4) + 16 * bits(scales, 8 * (run - 4) + 6, 2),
            bits(scales, 8 * (run + 4) + 4, 4) + 16 * bits(scales, 8 * run + 6, 2),
          ];
    const pair = Math.floor(run / 2);
    const code = bits(block.subarray(16), 8 * (32 * pair + (k % 32)) + 4 * (run % 2), 4);
    return half(block, 0) * scale * code - half(block, 2) * minimum;
  },
  Q6_K: (block, k) => {
    const low = block.subarray(0, 128);
    const high = block.subarray(128, 192);
    const side = Math.floor(k / 128);
    const inSide = k % 128;
    const lowByte = 64 * side + (inSide % 64);
    const lowBits = bits(low, 8 * lowByte + 4 * Math.floor(inSide / 64), 4);
    const highBits = bits(high, 8 * (32 * side + (inSide % 32)) + 2 * Math.floor(inSide / 32), 2);
    const scale = signed(block[192 + Math.floor(k / 16)]!);
    return half(block, 208) * scale * (lowBits + 16 * highBits - 32);
  },
};

/** Where a block format keeps f16 numbers, which must be finite here. */
const HALVES: Record<string, number[]> = { Q8_0: [0], Q4_0: [0], Q4_1: [0, 2], Q4_K: [0, 2], Q6_K: [208] };

describe.each(Object.keys(WEIGHT))('%s', (name) => {
  const type = [...READABLE_TYPES.values()].find((candidate) => candidate.name === name)!;
  const dequantize = DEQUANTIZE[type.name]!;

  it('decodes random blocks to the expected single-precision values, to the bit', () => {
    const blocks = 3;
    const bytes = fc.uint8Array({ minLength: blocks * type.bytes, maxLength: blocks * type.bytes });
    const scale = fc.float({ noNaN: true, min: -2, max: 2 });
    fc.assert(
      fc.property(bytes, fc.array(scale, { minLength: 6, maxLength: 6 }), (stored, scales) => {
        for (let block = 0; block < blocks; block++) {
          for (const [i, at] of HALVES[name]!.entries()) {
            const code = f32ToF16(scales[2 * block + i]!);
            stored[block * type.bytes + at] = code % 256;
            stored[block * type.bytes + at + 1] = code >> 8;
          }
        }
        const out = new Float32Array(1 + blocks * type.weights).fill(7);
        dequantize(stored, out, 1);
        expect(out[0]).toBe(7);
        for (let k = 0; k < blocks * type.weights; k++) {
          const block = Math.floor(k / type.weights);
          const own = stored.subarray(block * type.bytes, (block + 1) * type.bytes);
          // + 0 makes both zeros equal.
          expect(out[1 + k]! + 0).toBe(Math.fround(WEIGHT[name]!(own, k % type.weights)) + 0);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('worked examples', () => {
  it('Q4_0: scale 0.5, first byte 0x0F gives codes 15 and 0', () => {
    const block = new Uint8Array(18).fill(0x88);
    block.set([0x00, 0x38, 0x0f]);
    const out = new Float32Array(32);
    DEQUANTIZE.Q4_0!(block, out, 0);
    expect([out[0], out[16], out[1], out[17]]).toEqual([3.5, -4, 0, 0]);
  });

  it('Q4_1: scale 0.5, minimum -1, first byte 0x31 gives codes 1 and 3', () => {
    const block = new Uint8Array(20);
    block.set([0x00, 0x38, 0x00, 0xbc, 0x31]);
    const out = new Float32Array(32);
    DEQUANTIZE.Q4_1!(block, out, 0);
    expect([out[0], out[16], out[1]]).toEqual([-0.5, 0.5, -1]);
  });

  it('Q8_0: scale 0.25, bytes 0x80 and 0x7F are -128 and 127', () => {
    const block = new Uint8Array(34);
    block.set([0x00, 0x34, 0x80, 0x7f]);
    const out = new Float32Array(32);
    DEQUANTIZE.Q8_0!(block, out, 0);
    expect([out[0], out[1], out[2]]).toEqual([-32, 31.75, 0]);
  });

  it('Q6_K: scale 1, run scale -2, code 63 is 31 above the middle', () => {
    const block = new Uint8Array(210);
    block[0] = 0x0f;
    block[128] = 0x03;
    block[192] = 0xfe;
    block.set([0x00, 0x3c], 208);
    const out = new Float32Array(256);
    DEQUANTIZE.Q6_K!(block, out, 0);
    expect([out[0], out[1]]).toEqual([-62, 64]);
  });
});
