// Builds the addon's C++ without Node, together with native/test/stress.cpp, under sanitizers and runs it: AddressSanitizer
// with UndefinedBehaviorSanitizer, then ThreadSanitizer. Fails on the first finding.
//
//   node scripts/sanitize-native.mjs [rounds]     default: 30
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FLAGS, machineFlags } from './native-flags.mjs';

const NATIVE = join(dirname(fileURLToPath(import.meta.url)), '..', 'native');
const rounds = process.argv[2] ?? '30';
const compiler = process.env.CXX ?? 'g++';
const sanitizers = [
  ['address', ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']],
  ['thread', ['-fsanitize=thread']],
];
for (const [name, flags] of sanitizers) {
  const work = join(NATIVE, 'build', `sanitize-${name}`);
  mkdirSync(work, { recursive: true });
  const sources = readdirSync(NATIVE).filter((file) => file.endsWith('.cpp') && file !== 'addon.cpp');
  const objects = [...sources, 'test/stress.cpp'].map((file) => {
    const object = join(work, `${basename(file, '.cpp')}.o`);
    const all = [...FLAGS.filter((flag) => flag !== '-O3'), '-O1', '-g', ...flags, ...machineFlags(file)];
    execFileSync(compiler, [...all, '-c', join(NATIVE, file), '-o', object], { stdio: 'inherit' });
    return object;
  });
  const program = join(work, 'stress');
  execFileSync(compiler, [...flags, '-pthread', ...objects, '-o', program], { stdio: 'inherit' });
  console.log(`${name} sanitizer:`);
  execFileSync(program, [rounds], {
    stdio: 'inherit',
    env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' },
  });
  rmSync(work, { recursive: true });
}
