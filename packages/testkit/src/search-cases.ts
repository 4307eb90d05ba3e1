// Conformance of searching logits where they are: the largest, and some of the largest. Backends without either pass.
import { type Backend, MOST_TOP } from '@duobit/core';
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
