// The suite that every backend passes, on the native backend with each instruction set in turn; those that the machine
// lacks, and all of them where the addon was not built, are reported as skipped by name.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { createNativeBackend, INSTRUCTION_SETS, nativeSupport } from './backend.ts';

const support = nativeSupport();

for (const isa of INSTRUCTION_SETS)
  registerConformance(
    { describe, it },
    {
      name: `native ${isa}`,
      create: () => createNativeBackend({ isa, threads: 2 }),
      absent: !support.available
        ? support.reason
        : support.instructionSets.includes(isa)
          ? null
          : 'this machine does not run it',
    },
  );
