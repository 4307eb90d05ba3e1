// One row multiplied as bit planes (DUOBIT_CUDA_ONE=bits): what the suite has of W(1+1) products, on the emulator, and some of it watched.
import { conformanceCases } from '@duobit/testkit';
import { afterAll, beforeAll, describe, it, vi } from 'vitest';
import { createCudaBackend } from './backend.ts';
import { buildEmulator } from './testing/emulator.ts';

const PLAIN = /w11MatMul|integer sums|W\(1\+1\)|outlier|several sequences: texts/;
const WATCHED = /integer sums are exact, K (172|576)|whole model, W\(1\+1\)A4 on rotated/;

for (const [watched, names] of [
  [false, PLAIN],
  [true, WATCHED],
] as const) {
  const { path: library, reason } = buildEmulator(watched);
  const cases = conformanceCases('f32', true).filter(({ name }) => names.test(name));
  describe.skipIf(reason !== null)(
    `one row as bit planes${watched ? ', watched' : ''}${reason === null ? '' : `: ${reason}`}`,
    () => {
      beforeAll(() => void vi.stubEnv('DUOBIT_CUDA_ONE', 'bits'));
      afterAll(() => void vi.unstubAllEnvs());
      it.each(cases.map(({ name, run }) => [name, run] as const))(
        '%s',
        async (_, run) => {
          const backend = await createCudaBackend({ library });
          await run(backend);
          await backend.dispose();
        },
        600_000,
      );
    },
  );
}
