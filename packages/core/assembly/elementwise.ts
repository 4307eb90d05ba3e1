// The light operations of a block: norm, rotary embedding, gated activation, residual add.
// Rows of f32 slots are padded with zeros to a multiple of 16 bytes; every kernel here keeps the padding zero.
import { exponential } from './exponential';
import { sumLanes } from './reduce';

/** out = x / sqrt(mean(x^2) + epsilon) * weight. `out` may be `input`. */
export function rmsNorm(
  input: usize, weight: usize, out: usize, stride: u32, rows: u32, width: u32, epsilon: f32,
): void {
  const whole = width & ~3;
  for (let row: u32 = 0; row < rows; ++row) {
    const x = input + row * stride, y = out + row * stride;
    let squares = f32x4.splat(0);
    for (let k: u32 = 0; k < width; k += 4) {
      const v = v128.load(x + (k << 2));
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    const scale: f32 = 1 / sqrt<f32>(sumLanes(squares) / <f32>width + epsilon);
    const scale4 = f32x4.splat(scale);
    for (let k: u32 = 0; k < whole; k += 4) {
      const v = f32x4.mul(v128.load(x + (k << 2)), scale4);
      v128.store(y + (k << 2), f32x4.mul(v, v128.load(weight + (k << 2))));
    }
    for (let k = whole; k < width; ++k) {
      store<f32>(y + (k << 2), load<f32>(x + (k << 2)) * scale * load<f32>(weight + (k << 2)));
    }
  }
}

/** Rotates the halves of each head in place. `angles`: for each row half cosines, then half sines (half = headSize / 2). */
export function rope(target: usize, stride: u32, angles: usize, rows: u32, headCount: u32, headSize: u32): void {
  const half = headSize >> 1, whole = half & ~3;
  for (let row: u32 = 0; row < rows; ++row) {
    const cosines = angles + row * (headSize << 2), sines = cosines + (half << 2);
    for (let head: u32 = 0; head < headCount; ++head) {
      const x = target + row * stride + head * (headSize << 2), y = x + (half << 2);
      for (let i: u32 = 0; i < whole; i += 4) {
        const o = i << 2;
        const a = v128.load(x + o), b = v128.load(y + o), c = v128.load(cosines + o), s = v128.load(sines + o);
        v128.store(x + o, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
        v128.store(y + o, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
      }
      for (let i = whole; i < half; ++i) {
        const o = i << 2;
        const a = load<f32>(x + o), b = load<f32>(y + o), c = load<f32>(cosines + o), s = load<f32>(sines + o);
        store<f32>(x + o, a * c - b * s);
        store<f32>(y + o, b * c + a * s);
      }
    }
  }
}

/**
 * Parts rows of `width` values: taken[c] = input[columns[c]], and kept is the row with 0 there. `columns`: `count` numbers, u32.
 * `kept` is another row than `input`.
 */
export function takeColumns(
  input: usize, inputStride: u32, columns: usize, count: u32, kept: usize, keptStride: u32, taken: usize, takenStride: u32,
  rows: u32, width: u32,
): void {
  for (let row: u32 = 0; row < rows; ++row) {
    const x = input + row * inputStride, y = kept + row * keptStride, z = taken + row * takenStride;
    memory.copy(y, x, width << 2);
    for (let c: u32 = 0; c < count; ++c) {
      const at = load<u32>(columns + (c << 2)) << 2;
      store<f32>(z + (c << 2), load<f32>(x + at));
      store<f32>(y + at, 0);
    }
  }
}

/** out = gate * sigmoid(gate) * up over `bytes` bytes (a multiple of 16). `out` may be either input. */
export function siluMul(gate: usize, up: usize, out: usize, bytes: u32): void {
  const one = f32x4.splat(1);
  for (let i: u32 = 0; i < bytes; i += 16) {
    const g = v128.load(gate + i);
    const s = f32x4.div(g, f32x4.add(one, exponential(f32x4.neg(g))));
    v128.store(out + i, f32x4.mul(s, v128.load(up + i)));
  }
}

/** out += input over `bytes` bytes (a multiple of 16). */
export function add(input: usize, out: usize, bytes: u32): void {
  for (let i: u32 = 0; i < bytes; i += 16) {
    v128.store(out + i, f32x4.add(v128.load(out + i), v128.load(input + i)));
  }
}
