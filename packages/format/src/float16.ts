// IEEE 754 binary16 and bfloat16, to and from JavaScript numbers, rounding to nearest with ties to even.

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** The value of a binary16 bit pattern; exact. */
export function f16ToF32(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return (bits & 0x8000 ? -1 : 1) * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : bits & 0x8000 ? -Infinity : Infinity;
  word[0] = ((bits & 0x8000) << 16) | ((exponent + 112) << 23) | (fraction << 13);
  return single[0]!;
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** The binary16 bit pattern nearest to a number; beyond 65504 by half a step or more it is infinity. */
export function f32ToF16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundToEven(magnitude * 2 ** 24);
  // Rounding to single may carry into the next power of two; the step below then yields 1024 exactly.
  single[0] = magnitude;
  const exponent = (word[0]! >>> 23) - 127;
  return sign | (((exponent + 15) << 10) + roundToEven(magnitude * 2 ** (10 - exponent)) - 1024);
}

/** The value of a bfloat16 bit pattern; exact. */
export function bf16ToF32(bits: number): number {
  word[0] = bits << 16;
  return single[0]!;
}

/** The bfloat16 bit pattern nearest to the single-precision value of a number. */
export function f32ToBf16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  single[0] = value;
  const bits = word[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) / 65536) & 0xffff;
}
