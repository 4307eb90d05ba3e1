// Runs the addon's C++ for processors that this machine is not, under QEMU: 64-bit ARM with and without dot products, and
// x64 without AVX2, where 'auto' has to take wasm. Needs the cross compiler and the emulators (Debian: g++-aarch64-linux-gnu
// and qemu-user-static), and `npm run build`; on Linux, x64.
//
//   node scripts/check-processors.mjs [rounds]     default: 10
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileTests } from './native-compile.mjs';
import { FLAGS } from './native-flags.mjs';

const rounds = process.argv[2] ?? '10';
const folder = await mkdtemp(join(tmpdir(), 'duobit-processors-'));
let failed = false;

/** Runs a program on a processor of QEMU's and looks for lines in what it prints. */
function check(emulator, processor, command, wanted) {
  const output = execFileSync(emulator, ['-cpu', processor, ...command], { encoding: 'utf8' });
  for (const pattern of wanted) {
    const found = pattern.exec(output)?.[0];
    failed ||= found === undefined;
    console.log(`${processor}: ${found ?? `no line like ${pattern} in\n${output}`}`);
  }
}

try {
  const [program, training] = await compileTests({
    compiler: ['aarch64-linux-gnu-g++'],
    flags: FLAGS,
    processor: 'arm64',
    folder,
    tests: ['stress', 'training'],
    link: ['-static'],
  });
  check('qemu-aarch64-static', 'max', [program, rounds], [/^neon-dotprod: .* exact$/m, /^neon: .* exact$/m]);
  check(
    'qemu-aarch64-static',
    'cortex-a53',
    [program, rounds],
    [/^neon-dotprod: not.*/m, /^neon: .* exact$/m],
  );
  for (const processor of ['max', 'cortex-a53'])
    check('qemu-aarch64-static', processor, [training, rounds], [/^neon: .* training kernels .*$/m]);
  // The addon that is here, in Node, on a processor of 2008.
  const entry = fileURLToPath(new URL('../dist/index.js', import.meta.url));
  const script = `
    import { createBackend, nativeSupport } from ${JSON.stringify(entry)};
    const support = nativeSupport();
    console.log('sets: ' + (support.available ? support.instructionSets : support.reason));
    const backend = await createBackend('auto', { threads: 1, onNotice: console.log });
    console.log('auto: ' + backend.name);
    await backend.dispose();
    process.exit(0);`;
  check(
    'qemu-x86_64-static',
    'Nehalem',
    [process.execPath, '--input-type=module', '-e', script],
    [/^sets: scalar$/m, /^note: .*plain C\+\+.*/m, /^auto: wasm$/m],
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
