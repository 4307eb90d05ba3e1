// The training kernels against scalar code in double precision, on every instruction set of this machine: results within derived
// bounds, exact ones to the bit; the same bits on any number of threads.
import type { TrainingKernels } from '@duobit/core';
import { checkTrainingCase, TRAINING_CASES } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { type InstructionSet, nativeSupport } from './backend.ts';
import { createTrainingKernels } from './training.ts';

const support = nativeSupport();

describe.skipIf(!support.available)('training kernels', () => {
  const sets = support.available ? (support.instructionSets as InstructionSet[]) : [];
  describe.each(sets)('%s', (instructionSet) => {
    const [one, two, three] = [1, 2, 3].map((threads) =>
      createTrainingKernels({ threads, instructionSet }),
    ) as [TrainingKernels, TrainingKernels, TrainingKernels];
    it.each(TRAINING_CASES)('$name', (trainingCase) => {
      const results = checkTrainingCase(one, trainingCase);
      for (const others of [two, three])
        for (const [name, values] of Object.entries(trainingCase.run(others)))
          expect(
            Array.from(values).every((value, i) => Object.is(value, results[name]![i])),
            `${name} on ${others.threads} threads`,
          ).toBe(true);
    });

    it('reads no memory beyond the levels for codes beyond 3', () => {
      const codes = Int32Array.of(0, 5, -1, 2 ** 31 - 1, -(2 ** 31), 6);
      const out = new Float32Array(6);
      one.chosenLevels(codes, Float32Array.of(10, 11, 12, 13), 6, 6, out);
      expect(Array.from(out)).toEqual([10, 11, 13, 13, 10, 12]);
      const dLevels = new Float32Array(4);
      one.chosenLevelsGradient(codes, 6, 6, Float32Array.of(1, 2, 4, 8, 16, 32), dLevels);
      expect(Array.from(dLevels)).toEqual([17, 2, 32, 12]);
    });
  });
});
