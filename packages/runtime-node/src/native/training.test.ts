// The training kernels against scalar code in double precision, on every instruction set of this machine: results within derived
// bounds, exact ones to the bit; gradients' formulas against central differences; the same bits on any number of threads.
import type { TrainingKernels } from '@duobit/core';
import { compareValues } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { type InstructionSet, nativeSupport } from './backend.ts';
import { attentionCase } from './testing/attention-cases.ts';
import { distillCase, levelsCase, middleCase, quantizeCase } from './testing/rounding-cases.ts';
import {
  adamCase,
  gateCase,
  matMulCase,
  normCase,
  ropeCase,
  rotateCase,
  type TrainingCase,
} from './testing/training-cases.ts';
import { slopes } from './testing/training-reference.ts';
import { createTrainingKernels } from './training.ts';

const support = nativeSupport();

const heads = (headCount: number, kvHeadCount: number, headSize: number) => ({
  headCount,
  kvHeadCount,
  headSize,
});

/** Sizes at and beside vectors, tiles, panels and blocks of every instruction set. */
const SHAPES: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [7, 17, 5],
  [13, 33, 31],
  [64, 48, 128],
  [25, 100, 330],
  [150, 20, 70],
];
const TURNS = [false, true].flatMap((a) => [false, true].map((b) => ({ a, b })));

/** Small, for differences; what is larger has many blocks of every kind. */
const CASES: readonly TrainingCase[] = [
  ...SHAPES.flatMap(([m, n, k]) => TURNS.map((turn) => matMulCase(m, n, k, turn, true))),
  ...TURNS.map((turn) => matMulCase(67, 45, 650, turn, false)),
  ...TURNS.map((turn) => matMulCase(3, 18, 9001, turn, true)),
  normCase(1, 5),
  normCase(9, 19),
  normCase(70, 64),
  ropeCase(1, 1, 1, 1),
  ropeCase(2, 5, 3, 4),
  ropeCase(2, 3, 2, 11),
  gateCase(3),
  gateCase(77),
  ...[1, 2, 6, 64, 96, 100].map((width) => rotateCase(2, width)),
  rotateCase(1, 576),
  adamCase(5, 1),
  adamCase(83, 7),
  quantizeCase('no clips', 3, 40, [1, 1]),
  quantizeCase('clips', 2, 37, [0.6, 0.7]),
  quantizeCase('one value', 2, 1, [1, 1]),
  quantizeCase('constant', 2, 9, [1, 1], (width) => new Array<number>(width).fill(0.3)),
  quantizeCase('clips that cross', 2, 11, [2, 1], (width) =>
    Array.from({ length: width }, (_, i) => 1 + i / 20),
  ),
  quantizeCase('ties', 1, 31, [1, 1], (width) => Array.from({ length: width }, (_, i) => i / 2)),
  quantizeCase('NaN and infinity', 3, 20, [1, 1], (width, row) =>
    Array.from({ length: width }, (_, i) => (i === 17 ? [Number.NaN, Number.POSITIVE_INFINITY, 1][row]! : i)),
  ),
  levelsCase(3, 70, 32, false),
  levelsCase(2, 576, 128, false),
  levelsCase(4, 37, 64, true),
  middleCase(),
  distillCase(3, 7, 1),
  distillCase(2, 50, 4),
  distillCase(1, 1200, 2),
  attentionCase({ heads: heads(1, 1, 1), rows: { windows: 1, tokens: 1 }, span: null }),
  attentionCase({ heads: heads(2, 1, 5), rows: { windows: 2, tokens: 9 }, span: null }),
  attentionCase({ heads: heads(4, 2, 16), rows: { windows: 1, tokens: 19 }, span: 4 }),
  attentionCase({ heads: heads(3, 1, 20), rows: { windows: 2, tokens: 130 }, span: null }),
  attentionCase({ heads: heads(2, 2, 33), rows: { windows: 1, tokens: 115 }, span: 50, scale: 2 }),
];

/** Beyond so many values differences take long. */
const MOST_SLOPES = 600;

const isExact = (values: ArrayLike<number>, expected: ArrayLike<number>) =>
  values.length === expected.length &&
  Array.from(values).every((value, i) => Object.is(value, Math.fround(expected[i]!)));

function check(kernels: TrainingKernels, one: TrainingCase): Record<string, ArrayLike<number>> {
  const results = one.run(kernels);
  expect(Object.keys(results).sort()).toEqual(Object.keys(one.expected).sort());
  for (const [name, { values, bounds }] of Object.entries(one.expected)) {
    const label = `${one.name}: ${name} (${kernels.name})`;
    compareValues(
      label,
      results[name]!,
      Array.from(values, (value, i) => ({ value, allowed: bounds?.[i] ?? 0 })),
    );
    if (!bounds) expect(isExact(results[name]!, values), `${label} to the bit`).toBe(true);
  }
  return results;
}

describe('formulas of gradients', () => {
  it.each(CASES.filter(({ slopes }) => slopes.length > 0))('$name', (one) => {
    for (const { name, at, f, slopes: formula } of one.slopes) {
      if (at.length > MOST_SLOPES) continue;
      const found = slopes(at, f);
      // Differences of fourth order at 2^-10 leave some 2^-40 of the fifth derivative, and of rounding 2^-43 of f.
      const scale = Math.max(1, ...Array.from(formula, Math.abs)) + Math.abs(f(at));
      found.forEach((slope, i) => {
        expect(Math.abs(slope - formula[i]!), `${name}[${i}]: ${slope}, ${formula[i]}`).toBeLessThan(
          2 ** -30 * scale,
        );
      });
    }
  });
});

describe.skipIf(!support.available)('training kernels', () => {
  const sets = support.available ? (support.instructionSets as InstructionSet[]) : [];
  describe.each(sets)('%s', (instructionSet) => {
    const [one, two, three] = [1, 2, 3].map((threads) =>
      createTrainingKernels({ threads, instructionSet }),
    ) as [TrainingKernels, TrainingKernels, TrainingKernels];
    it.each(CASES)('$name', (trainingCase) => {
      const results = check(one, trainingCase);
      for (const others of [two, three])
        for (const [name, values] of Object.entries(trainingCase.run(others)))
          expect(
            Array.from(values).every((value, i) => Object.is(value, results[name]![i])),
            `${name} on ${others.threads} threads`,
          ).toBe(true);
    });
  });
});
