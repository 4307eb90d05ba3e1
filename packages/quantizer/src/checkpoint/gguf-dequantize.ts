// GGUF block formats -> f32. The layouts are ggml's (ggml-common.h); results equal ggml's scalar code bit for bit,
// because every product and sum here is exact in double precision and rounded once, to f32, on storing.
import type { ReadableType } from './gguf-types.ts';
import { f16Table } from './values.ts';

/** Decodes whole blocks of `bytes` into `out` from index `at`. */
export type Dequantize = (bytes: Uint8Array, out: Float32Array, at: number) => void;

function readHalf(table: Float32Array, bytes: Uint8Array, at: number): number {
  return table[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

/** 32 weights, 34 bytes: scale f16, 32 signed bytes. */
function dequantizeQ8_0(bytes: Uint8Array, out: Float32Array, at: number): void {
  const table = f16Table();
  for (let block = 0; block < bytes.length; block += 34) {
    const scale = readHalf(table, bytes, block);
    for (let i = 0; i < 32; i++) out[at++] = scale * ((bytes[block + 2 + i]! << 24) >> 24);
  }
}

/** 32 weights, 18 bytes: scale f16, 16 bytes whose low halves are the first 16 codes; codes count from -8. */
function dequantizeQ4_0(bytes: Uint8Array, out: Float32Array, at: number): void {
  const table = f16Table();
  for (let block = 0; block < bytes.length; block += 18) {
    const scale = readHalf(table, bytes, block);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[block + 2 + i]!;
      out[at + i] = scale * ((pair & 15) - 8);
      out[at + 16 + i] = scale * ((pair >> 4) - 8);
    }
    at += 32;
  }
}

/** 32 weights, 20 bytes: scale f16, minimum f16, codes as in Q4_0 but from 0. */
function dequantizeQ4_1(bytes: Uint8Array, out: Float32Array, at: number): void {
  const table = f16Table();
  for (let block = 0; block < bytes.length; block += 20) {
    const scale = readHalf(table, bytes, block);
    const minimum = readHalf(table, bytes, block + 2);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[block + 4 + i]!;
      out[at + i] = scale * (pair & 15) + minimum;
      out[at + 16 + i] = scale * (pair >> 4) + minimum;
    }
    at += 32;
  }
}

/**
 * 256 weights, 144 bytes: scale f16 and minimum scale f16; 12 bytes with 6-bit scales and minima of 8 runs of 32;
 * 128 bytes of codes, of which each 32 hold two runs, the first in the low halves.
 * Runs 0 to 3 keep scale and minimum in the low 6 bits of bytes j and j + 4; runs 4 to 7 keep their low 4 bits in the
 * halves of byte j + 4, and their high 2 bits on top of bytes j - 4 and j.
 */
function dequantizeQ4_K(bytes: Uint8Array, out: Float32Array, at: number): void {
  const table = f16Table();
  for (let block = 0; block < bytes.length; block += 144) {
    const scale = readHalf(table, bytes, block);
    const minimum = readHalf(table, bytes, block + 2);
    const packed = block + 4;
    for (let run = 0; run < 8; run++) {
      const own = bytes[packed + run]!;
      const next = bytes[packed + run + 4]!;
      const scaleCode = run < 4 ? own & 63 : (next & 15) | ((bytes[packed + run - 4]! >> 6) << 4);
      const minimumCode = run < 4 ? next & 63 : (next >> 4) | ((own >> 6) << 4);
      const codes = block + 16 + (run >> 1) * 32;
      const shift = (run & 1) * 4;
      for (let i = 0; i < 32; i++) {
        out[at++] = scale * scaleCode * ((bytes[codes + i]! >> shift) & 15) - minimum * minimumCode;
      }
    }
  }
}

/**
 * 256 weights, 210 bytes: 128 bytes with the low 4 bits of the codes, 64 bytes with their high 2 bits, 16 signed
 * scales (one for 16 weights), scale f16; codes count from -32. Each half of 128 weights is four runs of 32: runs 0
 * and 1 lie in the low halves of 64 bytes, 2 and 3 in the high halves; run r's high bits are bits 2 r of 32 bytes.
 */
function dequantizeQ6_K(bytes: Uint8Array, out: Float32Array, at: number): void {
  const table = f16Table();
  for (let block = 0; block < bytes.length; block += 210) {
    const scale = readHalf(table, bytes, block + 208);
    for (let run = 0; run < 8; run++) {
      const half = run >> 2;
      const quarter = run & 3;
      const low = block + half * 64 + (quarter & 1) * 32;
      const high = block + 128 + half * 32;
      for (let i = 0; i < 32; i++) {
        const lowBits = (bytes[low + i]! >> ((quarter >> 1) << 2)) & 15;
        const code = (lowBits | (((bytes[high + i]! >> (2 * quarter)) & 3) << 4)) - 32;
        const runScale = (bytes[block + 192 + run * 2 + (i >> 4)]! << 24) >> 24;
        out[at++] = scale * runScale * code;
      }
    }
  }
}

/** Null for the types whose bytes are dense values already. */
export const DEQUANTIZE: Readonly<Record<ReadableType, Dequantize | null>> = {
  F32: null,
  F16: null,
  BF16: null,
  Q8_0: dequantizeQ8_0,
  Q4_0: dequantizeQ4_0,
  Q4_1: dequantizeQ4_1,
  Q4_K: dequantizeQ4_K,
  Q6_K: dequantizeQ6_K,
};
