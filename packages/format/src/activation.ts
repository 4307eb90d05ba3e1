// Quantized activations, one row at a time, written to be read: what docs/format.md, "Activation quantizers", says a
// tensor's quantizer does to the input of its layer. Backends are measured against it. Every step is rounded to f32.
import type { ActivationQuantizer } from './manifest.ts';

/** Codes of one row, and the line that they are points of: value = low + step * t(code). */
export interface QuantizedRow {
  /** 0 to 15 each. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** f32; NaN for a row with values that are not finite. */
  readonly low: number;
  /** f32; 0 for a row of one value. */
  readonly step: number;
}

/** t(q) for q = 0 to 15: how many steps code q lies above the lowest value. */
export function activationLadder({
  knee,
  planeScales,
}: Pick<ActivationQuantizer, 'knee' | 'planeScales'>): readonly number[] {
  return Array.from({ length: 16 }, (_, code) => {
    if (planeScales) {
      return planeScales.reduce((sum, scale, bit) => sum + scale * ((code >> bit) & 1), 0);
    }
    return knee ? Math.min(code, knee.code) + knee.slopeRatio * Math.max(code - knee.code, 0) : code;
  });
}

/** Quantizes a row of f32 values. Never throws: what cannot be quantized decodes to NaN. */
export function quantizeActivations(row: Float32Array, quantizer: ActivationQuantizer): QuantizedRow {
  const codes = new Uint8Array(row.length);
  // Math.min of nothing is infinite, and NaN is passed on.
  const least = row.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const low = Math.fround(Math.fround(quantizer.clipLow) * least);
  const high = Math.fround(Math.fround(quantizer.clipHigh) * most);
  const range = Math.fround(high - low);
  if (!Number.isFinite(range)) return { codes, low: Number.NaN, step: Number.NaN };

  const ladder = activationLadder(quantizer);
  const step = range > 0 ? Math.fround(range / Math.fround(ladder[15]!)) : 0;
  if (step > 0) {
    for (const [k, value] of row.entries()) {
      codes[k] = nearestCode(ladder, Math.fround(Math.fround(value - low) / step));
    }
  }
  return { codes, low, step };
}

/** Of codes that are equally near the even one, and of several even ones the lowest. */
function nearestCode(ladder: readonly number[], position: number): number {
  let best = 0;
  for (let code = 1; code < ladder.length; code++) {
    const [distance, least] = [Math.abs(ladder[code]! - position), Math.abs(ladder[best]! - position)];
    if (distance < least || (distance === least && best % 2 === 1 && code % 2 === 0)) best = code;
  }
  return best;
}

/** The values that a quantized row stands for. */
export function decodeActivations(
  { codes, low, step }: QuantizedRow,
  quantizer: Pick<ActivationQuantizer, 'knee' | 'planeScales'>,
): Float32Array<ArrayBuffer> {
  const ladder = activationLadder(quantizer).map(Math.fround);
  return Float32Array.from(codes, (code) => low + Math.fround(step * ladder[code]!));
}
