// The suite that every backend passes, on the native backend with each instruction set in turn; those that the machine
// lacks, and all of them where the addon was not built, are reported as skipped by name.
import { KV_PRECISIONS } from '@duobit/core';
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { createNativeBackend, INSTRUCTION_SETS, nativeSupport } from './backend.ts';

const support = nativeSupport();

for (const isa of INSTRUCTION_SETS)
  for (const kv of KV_PRECISIONS)
    registerConformance(
      { describe, it },
      {
        name: `native ${isa} with a cache of ${kv}`,
        create: () => createNativeBackend({ isa, kv, threads: 2 }),
        kv,
        severalSequences: true,
        absent: !support.available
          ? support.reason
          : support.instructionSets.includes(isa)
            ? null
            : 'this machine does not run it',
      },
    );
