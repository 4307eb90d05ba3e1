// Conformance of searching logits where they are: the largest, some of the largest, sums of softmax weights, and parts. Backends without
// any pass.
import { type Backend, type LogitSums, MOST_TOP } from '@duobit/core';
import { demandBits } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { f32, operationPlan, runOf } from './operation-plans.ts';
import { createRandom, drawInteger, drawNormal, type Random } from './random-values.ts';

const LAYOUTS: readonly (readonly [string, number, (draw: Random, i: number) => number])[] = [
  ['few', 10, drawNormal],
  ['many', 5003, (draw) => 10 * drawNormal(draw)],
  ['all equal', 4500, () => -1.5],
  ['two values', 4500, (_, i) => (i % 3 === 1 ? 2 : 1)],
  ['few values, zeros of both signs', 2500, (draw) => drawInteger(draw, -2, 0) * (draw() < 0.5 ? 0 : -1)],
  ['close to each other', 3000, (draw) => 1 + drawInteger(draw, 0, 900) * 2 ** -23],
  ['hardly any finite', 2200, (_, i) => (i % 1000 === 7 ? i : Number.NEGATIVE_INFINITY)],
  ['not all are numbers', 4100, (draw, i) => (i === 9 || i === 4001 ? Number.NaN : drawNormal(draw))],
  ['infinite', 2100, (draw, i) => (i === 2077 ? Number.POSITIVE_INFINITY : drawNormal(draw))],
];

const TEMPERATURES = [1, 0.07, 30, 1e-4];

export function searchCases(): ConformanceCase[] {
  return LAYOUTS.map(([name, width, value], index) => ({
    name: `the largest logits, ${name}`,
    run: (backend) => checkSearches(backend, width, value, createRandom(300 + index)),
  }));
}

async function checkSearches(
  backend: Backend,
  width: number,
  value: (draw: Random, i: number) => number,
  draw: Random,
): Promise<void> {
  // By hand, as weights of a file are finite.
  const weights = Float32Array.from({ length: width }, (_, i) => value(draw, i));
  const info = { name: 'w', shape: [width, 1], encoding: { kind: 'f32' }, activation: null } as const;
  const program = await backend.prepare(
    operationPlan({ x: f32(1), y: f32(width) }, [{ op: 'logits', input: 'x', weight: 'w', out: 'y' }]),
    async () => ({ info, planes: { dense: new Uint8Array(weights.buffer) } }),
    { capacity: 1, maxRows: 1 },
  );
  try {
    await program.write('x', Float32Array.of(1));
    await program.run(runOf(1, 'last'));
    const logits = [...(await program.read('y'))];
    // What is not a number comes first, then the larger, then the one with the lower place.
    const rank = (place: number) =>
      Number.isNaN(logits[place]!) ? Number.POSITIVE_INFINITY : logits[place]!;
    const nan = (place: number) => Number(Number.isNaN(logits[place]!));
    const best = logits
      .map((_, place) => place)
      .sort((a, b) => nan(b) - nan(a) || (rank(a) === rank(b) ? a - b : rank(b) - rank(a)));
    const found = await program.readBest?.('y');
    if (found) demandEqual('the largest', [found.index], [found.value], best.slice(0, 1), logits);
    for (const count of [1, 2, 41, MOST_TOP].map((most) => Math.min(most, width))) {
      const top = await program.readTop?.('y', count);
      if (top)
        demandEqual(`the ${count} largest`, [...top.indices], [...top.values], best.slice(0, count), logits);
    }
    for (const temperature of TEMPERATURES) {
      const sums = await program.readSums?.('y', temperature);
      if (sums) demandSums(sums, logits, temperature);
    }
    for (const [first, count] of [
      [0, width],
      [width - 1, 1],
      [3, Math.min(1030, width - 3)],
    ] as const) {
      const part = await program.readPart?.('y', first, count);
      if (part) demandBits(`${count} logits from ${first} on`, part, logits.slice(first, first + count));
    }
  } finally {
    await program.dispose();
  }
}

function demandEqual(
  what: string,
  indices: readonly number[],
  values: readonly number[],
  expected: readonly number[],
  logits: readonly number[],
): void {
  if (indices.length !== expected.length) throw new Error(`${what}: ${indices.length} of ${expected.length}`);
  for (const [i, place] of expected.entries()) {
    const [wanted, value] = [logits[place]!, values[i]!];
    if (indices[i] !== place || !(value === wanted || (Number.isNaN(value) && Number.isNaN(wanted))))
      throw new Error(`${what}: number ${i} is ${value} at ${indices[i]}, expected ${wanted} at ${place}`);
  }
}

/**
 * Sums of a row's softmax weights are those in double precision, with u = 2^-53: of n weights a sum is n u off, each weight w = exp -x
 * by 8 u of the function and 4 u x of its argument. That for both sides.
 */
export function demandSums(
  { highest, partLength, sums }: LogitSums,
  logits: readonly number[],
  temperature: number,
): void {
  const most = logits.reduce((a, b) => (Number.isNaN(a) || a >= b ? a : b));
  if (!Object.is(highest, most) && highest !== most)
    throw new Error(`sums are of weights below ${highest}, the largest logit is ${most}`);
  const count = Math.ceil(logits.length / partLength);
  if (sums.length !== count) throw new Error(`${sums.length} sums of ${count} parts`);
  if (!Number.isFinite(most)) return;
  for (const [part, found] of sums.entries()) {
    let [sum, error] = [0, 0];
    for (const logit of logits.slice(part * partLength, (part + 1) * partLength)) {
      const x = (most - logit) / temperature;
      const weight = Math.exp(-x);
      sum += weight;
      if (weight > 0) error += weight * 2 * (partLength + 8 + 4 * x) * 2 ** -53;
    }
    if (!(Math.abs(found - sum) <= error + Number.MIN_VALUE * partLength))
      throw new Error(
        `at temperature ${temperature} part ${part} sums to ${found}, expected ${sum} within ${error}`,
      );
  }
}
