// Seeded random values for tests. Everything made here repeats with its seed.
import { createRandom } from '@duobit/core';

export type Random = () => number;

export { createRandom };

/** A whole number from `least` to `most`, both included. */
export function drawInteger(random: Random, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

/** A normal deviate (Box & Muller 1958). */
export function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Normal f32 values with a few outliers 20 times as large, as activations of language models have. */
export function drawActivations(random: Random, count: number, deviation = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, () => {
    const outlier = random() < 0.01 ? 20 : 1;
    return drawNormal(random) * deviation * outlier;
  });
}

/** Whole numbers as f32. */
export function drawIntegers(
  random: Random,
  count: number,
  least: number,
  most: number,
): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, () => drawInteger(random, least, most));
}
