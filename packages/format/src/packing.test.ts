// Packing and the reference decoder against definitions written out again, plainly, on random shapes.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../test/sample.ts';
import {
  bitRowStride,
  decodeTensor,
  type Encoding,
  encodedPlaneLengths,
  f16ToF32,
  f32ToF16,
  GROUP_SIZES,
  type Planes,
  packBits,
  packDense,
  packInt4,
  packInt8,
  packW11,
  unpackBits,
} from './index.ts';
import { checkPlaneValues } from './plane-values.ts';

const rows = fc.integer({ min: 1, max: 5 });
const columns = fc.integer({ min: 1, max: 300 });
const groupSize = fc.constantFrom(...GROUP_SIZES);
const seed = fc.integer();
const half = (value: number) => f16ToF32(f32ToF16(value));

function decode(encoding: Encoding, shape: number[], planes: Planes): Float32Array {
  return decodeTensor({ info: { name: 't', shape, encoding, activation: null }, planes });
}

/** Lengths are as announced, and the value rules hold on the whole and on every 256-byte piece. */
function checkPlanes(encoding: Encoding, shape: number[], planes: Planes): void {
  const lengths = Object.fromEntries(Object.entries(planes).map(([role, plane]) => [role, plane.length]));
  expect(lengths).toEqual(encodedPlaneLengths(encoding, shape));
  expect(Object.keys(planes)).toEqual(Object.keys(encodedPlaneLengths(encoding, shape)));
  for (const [role, plane] of Object.entries(planes)) {
    expect(checkPlaneValues({ encoding, shape }, role, plane, 0)).toBeNull();
    for (let at = 0; at < plane.length; at += 256) {
      expect(checkPlaneValues({ encoding, shape }, role, plane.subarray(at, at + 256), at)).toBeNull();
    }
  }
}

describe('packing', () => {
  it('W(1+1) decodes to mu[m] + alpha[m] (2 s - 1)', () => {
    fc.assert(
      fc.property(rows, columns, groupSize, fc.boolean(), seed, (N, K, G, offsets, start) => {
        const random = createRandom(start);
        const groups = Math.ceil(K / G);
        const sign = Uint8Array.from({ length: N * K }, () => Math.round(random()));
        const bitmap = Uint8Array.from({ length: N * K }, () => Math.round(random()));
        const alpha = Float32Array.from({ length: N * groups * 2 }, () => random() * 3);
        const mu = offsets ? Float32Array.from({ length: N * groups * 2 }, () => random() - 0.5) : null;
        const planes = packW11({ rows: N, columns: K, groupSize: G, sign, bitmap, alpha, mu });
        const encoding = { kind: 'w11', groupSize: G, offsets } as const;
        checkPlanes(encoding, [N, K], planes);
        const expected = Float32Array.from({ length: N * K }, (_, i) => {
          const row = Math.floor(i / K);
          const level = (row * groups + Math.floor((i % K) / G)) * 2 + bitmap[i]!;
          return (mu ? half(mu[level]!) : 0) + half(alpha[level]!) * (sign[i] ? 1 : -1);
        });
        expect(decode(encoding, [N, K], planes)).toEqual(expected);
        expect(unpackBits(planes.sign!, N, K)).toEqual(sign);
      }),
      { numRuns: 60 },
    );
  });

  it('int8 and int4 decode to scale * code', () => {
    fc.assert(
      fc.property(rows, columns, groupSize, fc.constantFrom('int8', 'int4'), seed, (N, K, G, kind, start) => {
        const random = createRandom(start);
        const groups = Math.ceil(K / G);
        const [least, most] = kind === 'int8' ? [-127, 127] : [-8, 7];
        const codes = Int8Array.from(
          { length: N * K },
          () => least + Math.floor(random() * (most - least + 1)),
        );
        const scale = Float32Array.from({ length: N * groups }, () => random() - 0.5);
        const planes = (kind === 'int8' ? packInt8 : packInt4)({
          rows: N,
          columns: K,
          groupSize: G,
          codes,
          scale,
        });
        checkPlanes({ kind, groupSize: G }, [N, K], planes);
        const expected = Float32Array.from(codes, (code, i) => {
          return half(scale[Math.floor(i / K) * groups + Math.floor((i % K) / G)]!) * code;
        });
        expect(decode({ kind, groupSize: G }, [N, K], planes)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('dense values survive as their kind allows', () => {
    const values = Float32Array.from([0, -0, 1, -1.5, 1e-7, 65504, 0.1]);
    expect(decode({ kind: 'f32' }, [7], packDense(values, 'f32'))).toEqual(values);
    expect(decode({ kind: 'f16' }, [7], packDense(values, 'f16'))).toEqual(values.map(half));
    const bf16 = decode({ kind: 'bf16' }, [7, 1], packDense(values, 'bf16'));
    for (const [i, value] of bf16.entries())
      expect(Math.abs(value - values[i]!)).toBeLessThanOrEqual(Math.abs(values[i]!) / 256);
    expect(decode({ kind: 'f32' }, [], packDense(Float32Array.of(5), 'f32'))).toEqual(Float32Array.of(5));
  });

  it('puts column k in bit k & 7 of byte k >> 3, and the even column in the low nibble', () => {
    const bits = new Uint8Array(2 * 33);
    bits[0] = bits[9] = bits[32] = bits[33 + 31] = 1;
    expect([...packBits(bits, 2, 33)]).toEqual([1, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0]);
    const input = { rows: 2, columns: 3, groupSize: 32, scale: Float32Array.of(1, -2) };
    const int4 = packInt4({ ...input, codes: Int8Array.of(1, -8, 7, -1, 2, -3) });
    expect([...int4.codes!]).toEqual([0x81, 0x07, 0, 0, 0x2f, 0x0d, 0, 0]);
    expect([...int4.scale!]).toEqual([0x00, 0x3c, 0x00, 0xc0]);
    const int8 = packInt8({ ...input, codes: Int8Array.of(1, -127, 7, -1, 2, -3) });
    expect([...int8.codes!]).toEqual([1, 0x81, 7, 0, 0xff, 2, 0xfd, 0]);
    expect([1, 32, 33, 576].map(bitRowStride)).toEqual([4, 4, 8, 72]);
  });

  it('refuses wrong lengths, codes out of range and values without an f16', () => {
    const levels = { alpha: new Float32Array(2), mu: null };
    const grid = { rows: 1, columns: 3, groupSize: 32 };
    const bits = new Uint8Array(3);
    const w11 = { ...grid, ...levels, sign: bits, bitmap: bits };
    expect(() => packW11({ ...w11, sign: new Uint8Array(4) })).toThrow(/4 values/);
    expect(() => packW11({ ...w11, alpha: new Float32Array(3) })).toThrow(/alpha/);
    expect(() => packW11({ ...w11, mu: new Float32Array(3) })).toThrow(/mu/);
    expect(() => packW11({ ...w11, bitmap: Uint8Array.of(0, 2, 0) })).toThrow(/0 or 1/);
    expect(() => packW11({ ...w11, alpha: Float32Array.of(1, 70_000) })).toThrow(/70000/);
    const codes = Int8Array.of(0, 0, -128);
    const scale = new Float32Array(1);
    expect(() => packInt8({ ...grid, codes, scale })).toThrow(/-128/);
    expect(() => packInt4({ ...grid, codes: Int8Array.of(8, 0, 0), scale })).toThrow(/outside -8..7/);
    for (const kind of ['f32', 'f16', 'bf16'] as const) {
      expect(() => packDense(Float32Array.of(0, Number.NaN), kind)).toThrow(/value 1 is NaN/);
    }
  });
});

describe('the decoder', () => {
  it('refuses missing, short and unknown planes', () => {
    const planes = packDense(new Float32Array(4), 'f32');
    expect(() => decode({ kind: 'f16' }, [4], planes)).toThrow(/16 bytes, expected 8/);
    expect(() => decode({ kind: 'int8', groupSize: 32 }, [2, 2], planes)).toThrow(/lacks a plane/);
    expect(() =>
      decode(
        { kind: 'unknown', id: 9, groupSize: 0, flags: 0, outlierColumns: 0, salientCount: 0 },
        [4],
        planes,
      ),
    ).toThrow(/encoding 9/);
  });
});
