// A device whose blocks have little shared memory: rows lie in device memory, no product makes a row's codes for itself, and one row
// of codes goes through the kernels of several. On the emulator.
import { conformanceCases } from '@duobit/testkit';
import { afterAll, beforeAll, describe, it, vi } from 'vitest';
import { createCudaBackend } from './backend.ts';
import { buildEmulator } from './testing/emulator.ts';

const CASES = /integer sums|whole model, W\(1\+1\)A4|rotateInput|quantizeActivations|rmsNorm|siluMul/;

const { path: library, reason } = buildEmulator();
describe.skipIf(reason !== null)(`little shared memory${reason === null ? '' : `: ${reason}`}`, () => {
  // What is kept back, and 6 KiB.
  beforeAll(() => void vi.stubEnv('DUOBIT_EMULATOR_SHARED', String(8192 + 6144)));
  afterAll(() => void vi.unstubAllEnvs());
  it.each(
    conformanceCases('f32', true)
      .filter(({ name }) => CASES.test(name))
      .map(({ name, run }) => [name, run] as const),
  )(
    '%s',
    async (_, run) => {
      const backend = await createCudaBackend({ library });
      await run(backend);
      await backend.dispose();
    },
    600_000,
  );
});
