// The suite that every backend passes, on the cuda backend: on the emulator, which runs the very same kernels as C++ of the
// host, and on a GPU where there is one.
import { KV_PRECISIONS } from '@duobit/core';
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { createCudaBackend, cudaSupport } from './backend.ts';
import { buildEmulator } from './testing/emulator.ts';

const emulator = buildEmulator();
const device = cudaSupport();

/** Thousands of threads as fibers take their time on a busy machine. */
const patient = Object.assign((name: string, run: () => Promise<void>) => it(name, run, 600_000), {
  skip: it.skip,
});

for (const kv of KV_PRECISIONS) {
  registerConformance(
    { describe, it: patient },
    {
      name: `cuda emulated with a cache of ${kv}`,
      create: () => createCudaBackend({ kv, library: emulator.path }),
      kv,
      severalSequences: true,
      absent: emulator.reason,
    },
  );
  registerConformance(
    { describe, it },
    {
      name: `cuda with a cache of ${kv}`,
      create: () => createCudaBackend({ kv }),
      kv,
      severalSequences: true,
      absent: device.available ? null : device.reason,
    },
  );
}
