// The operations of every engine that this machine has, against the cases that training kernels must pass: scalar code in double
// precision, with gradients whose formulas are held against central differences (testkit).
import { checkTrainingCase, TRAINING_CASES, type TrainingCase } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { openEngine } from '../src/engine.ts';
import { operationKernels } from './operation-kernels.ts';

/** Adam is no operation; a rotation is one product here; distances from levels are rounded, so a middle that is no f32 is lost. */
const OTHERWISE = /^(adam|rotate|nearestLevels at the middle)/;

/** Kernels give their gradients the sums of a softmax, which operations do not have. */
function withoutSums(one: TrainingCase): TrainingCase {
  const { logSums: _, ...expected } = one.expected;
  return {
    ...one,
    expected,
    run: (kernels) => {
      const { logSums: _, ...results } = one.run(kernels);
      return results;
    },
  };
}

describe('operations on the backend cpu', async () => {
  const engine = await openEngine({ device: 'cpu' });
  const kernels = operationKernels(engine);
  it.each(TRAINING_CASES.filter(({ name }) => !OTHERWISE.test(name)))('$name', (one) => {
    const before = engine.tf.memory().numTensors;
    checkTrainingCase(kernels, withoutSums(one));
    // Constants are kept; nothing else is.
    expect(engine.tf.memory().numTensors - before).toBeLessThanOrEqual(3);
  });
});
