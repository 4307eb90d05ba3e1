// Builds the addon's C++ without Node, together with native/test/stress.cpp and training.cpp, under sanitizers and runs it:
// AddressSanitizer with UndefinedBehaviorSanitizer, then ThreadSanitizer. Fails on the first finding.
//
//   node scripts/sanitize-native.mjs [rounds]     default: 30
import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { compileTests, NATIVE } from './native-compile.mjs';
import { FLAGS } from './native-flags.mjs';

const rounds = process.argv[2] ?? '30';
const compiler = [process.env.CXX ?? 'g++'];
const sanitizers = [
  ['address', ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']],
  ['thread', ['-fsanitize=thread']],
];
for (const [name, link] of sanitizers) {
  const folder = join(NATIVE, 'build', `sanitize-${name}`);
  const flags = [...FLAGS.filter((flag) => flag !== '-O3'), '-O1', '-g', ...link];
  const programs = await compileTests({
    compiler,
    flags,
    processor: process.arch,
    folder,
    tests: ['stress', 'training'],
    link,
  });
  console.log(`${name} sanitizer:`);
  for (const program of programs)
    execFileSync(program, [rounds], {
      stdio: 'inherit',
      env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' },
    });
  await rm(folder, { recursive: true });
}
