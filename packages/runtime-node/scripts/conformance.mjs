// The conformance suite on the native backend without a test runner, for a Node of another processor under an emulator.
// Needs `npm run build`.
//
//   node scripts/conformance.mjs [instruction set …]     default: all that the machine has
import { createNativeBackend, nativeSupport } from '@duobit/runtime-node';
import { conformanceCases } from '@duobit/testkit';

const support = nativeSupport();
if (!support.available) {
  console.error(support.reason);
  process.exit(1);
}
let failed = 0;
for (const isa of process.argv.length > 2 ? process.argv.slice(2) : support.instructionSets) {
  const backend = await createNativeBackend({ isa, threads: 2 });
  const cases = conformanceCases();
  const before = failed;
  for (const { name, run } of cases)
    try {
      await run(backend);
    } catch (error) {
      failed += 1;
      console.error(`${isa}: ${name}: ${error.message}`);
    }
  await backend.dispose();
  console.log(`${process.arch} ${isa}: ${cases.length - (failed - before)} of ${cases.length} cases pass`);
}
process.exitCode = failed === 0 ? 0 : 1;
