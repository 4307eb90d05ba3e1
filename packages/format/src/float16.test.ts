// Every binary16 value goes there and back; rounding is to nearest, ties to even.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from './float16.ts';

const isNan16 = (bits: number) => (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;

describe('binary16', () => {
  it('has the values of IEEE 754', () => {
    expect(f16ToF32(0x3c00)).toBe(1);
    expect(f16ToF32(0xc000)).toBe(-2);
    expect(f16ToF32(0x7bff)).toBe(65504);
    expect(f16ToF32(0x0400)).toBe(2 ** -14);
    expect(f16ToF32(0x0001)).toBe(2 ** -24);
    expect(Object.is(f16ToF32(0x8000), -0)).toBe(true);
    expect(f16ToF32(0x7c00)).toBe(Infinity);
    expect(f16ToF32(0x3555)).toBe(1365 / 4096);
  });

  it('goes there and back for every pattern', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const back = f32ToF16(f16ToF32(bits));
      if (isNan16(bits) ? !isNan16(back) : back !== bits)
        expect.fail(`${bits.toString(16)} -> ${back.toString(16)}`);
    }
  });

  it('rounds every midpoint to even, and what is beside it to its own side', () => {
    for (let bits = 0; bits < 0x7bff; bits++) {
      const middle = (f16ToF32(bits) + f16ToF32(bits + 1)) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const [below, above] = [middle * (1 - 2 ** -40), middle * (1 + 2 ** -40)];
      const found = [f32ToF16(middle), f32ToF16(-middle), f32ToF16(below), f32ToF16(above)];
      const expected = [even, even | 0x8000, bits, bits + 1];
      if (found.some((value, i) => value !== expected[i]))
        expect.fail(`near ${bits}: ${found} not ${expected}`);
    }
  });

  it('overflows to infinity from half a step above the largest', () => {
    expect(f32ToF16(65519.99)).toBe(0x7bff);
    expect(f32ToF16(65520)).toBe(0x7c00);
    expect(f32ToF16(-Infinity)).toBe(0xfc00);
    expect(isNan16(f32ToF16(Number.NaN))).toBe(true);
  });
});

describe('bfloat16', () => {
  it('goes there and back for every pattern, and rounds to the nearest', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = bf16ToF32(bits);
      if (!Number.isNaN(value) && f32ToBf16(value) !== bits) expect.fail(`${bits.toString(16)}`);
    }
    fc.assert(
      fc.property(
        fc.float({ noNaN: true, noDefaultInfinity: true, max: 2 ** 126, min: -(2 ** 126) }),
        (value) => {
          const bits = f32ToBf16(value);
          const error = Math.abs(bf16ToF32(bits) - value);
          for (const near of [bits - 1, bits + 1]) {
            const other = Math.abs(bf16ToF32(near & 0xffff) - value);
            if (other < error || (other === error && other > 0 && bits % 2 === 1)) return false;
          }
          return true;
        },
      ),
    );
  });
});
