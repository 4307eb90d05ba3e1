// The cases that training's operations must pass, whoever computes them, and how one is checked.
import type { TrainingKernels } from '@duobit/core';
import { compareValues } from '../compare.ts';
import { attentionCase } from './attention-cases.ts';
import {
  adamCase,
  gateCase,
  matMulCase,
  normCase,
  ropeCase,
  rotateCase,
  type TrainingCase,
} from './cases.ts';
import {
  chosenCase,
  distillCase,
  levelsCase,
  middleCase,
  quantizeCase,
  relaxedCase,
} from './rounding-cases.ts';

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
export const TRAINING_CASES: readonly TrainingCase[] = [
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
  chosenCase(3, 70, 32),
  chosenCase(2, 37, 64),
  relaxedCase(3, 70, 32, 0),
  relaxedCase(2, 576, 128, -0.3),
  relaxedCase(4, 37, 64, 2),
  distillCase(3, 7, 1),
  distillCase(2, 50, 4),
  distillCase(1, 1200, 2),
  attentionCase({ heads: heads(1, 1, 1), rows: { windows: 1, tokens: 1 }, span: null }),
  attentionCase({ heads: heads(2, 1, 5), rows: { windows: 2, tokens: 9 }, span: null }),
  attentionCase({ heads: heads(4, 2, 16), rows: { windows: 1, tokens: 19 }, span: 4 }),
  attentionCase({ heads: heads(3, 1, 20), rows: { windows: 2, tokens: 130 }, span: null }),
  attentionCase({ heads: heads(2, 2, 33), rows: { windows: 1, tokens: 115 }, span: 50, scale: 2 }),
];

const isExact = (values: ArrayLike<number>, expected: ArrayLike<number>) =>
  values.length === expected.length &&
  Array.from(values).every((value, i) => Object.is(value, Math.fround(expected[i]!)));

/**
 * Runs a case.
 * @returns its results by name
 * @throws Error that says which values are off, and by how much
 */
export function checkTrainingCase(
  kernels: TrainingKernels,
  one: TrainingCase,
): Record<string, ArrayLike<number>> {
  const results = one.run(kernels);
  const names = (record: object) => Object.keys(record).sort().join(' ');
  if (names(results) !== names(one.expected))
    throw new Error(`${one.name}: results ${names(results)}, expected ${names(one.expected)}`);
  for (const [name, { values, bounds }] of Object.entries(one.expected)) {
    const label = `${one.name}: ${name} (${kernels.name})`;
    compareValues(
      label,
      results[name]!,
      Array.from(values, (value, i) => ({ value, allowed: bounds?.[i] ?? 0 })),
    );
    if (!bounds && !isExact(results[name]!, values)) throw new Error(`${label}: not the same to the bit`);
  }
  return results;
}
