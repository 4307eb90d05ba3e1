// Makes .gpu, a folder that checks and measures the cuda backend on a machine that has a GPU and nothing else: a Node binary,
// everything bundled, kernels, a small model, and run.sh.
//
//   node scripts/pack-gpu.mjs
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const ROOT = join(PACKAGE, '../..');
const TARGET = join(ROOT, '.gpu');
const MOST_BYTES = 40 << 20;
const run = (command, args) =>
  execFileSync(command, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });

// What a run leaves goes too.
for (const name of ['check.mjs', 'kernels', 'node', 'node_modules', 'run.sh', 'tinystories.duo', 'out'])
  rmSync(join(TARGET, name), { recursive: true, force: true });
mkdirSync(join(TARGET, 'kernels/build'), { recursive: true });
await build({
  entryPoints: [join(PACKAGE, 'gpu/check.mjs')],
  bundle: true,
  platform: 'node',
  format: 'esm',
  conditions: ['@duobit/source'],
  external: ['koffi'],
  outfile: join(TARGET, 'check.mjs'),
  banner: {
    js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
copyFileSync(join(PACKAGE, 'gpu/run.sh'), join(TARGET, 'run.sh'));
for (const name of readdirSync(join(PACKAGE, 'kernels')))
  if (/\.(cu|cuh)$/.test(name)) copyFileSync(join(PACKAGE, 'kernels', name), join(TARGET, 'kernels', name));
cpSync(join(PACKAGE, 'kernels/generated'), join(TARGET, 'kernels/generated'), { recursive: true });
for (const name of ['kernels/build/sm_90.cubin', 'kernels/build/sources'])
  if (existsSync(join(PACKAGE, name))) copyFileSync(join(PACKAGE, name), join(TARGET, name));

// koffi without its pages and sources in C++.
const require = createRequire(join(PACKAGE, 'package.json'));
const koffi = dirname(require.resolve('koffi'));
for (const [from, to] of [
  [koffi, 'koffi'],
  [join(koffi, '../@koromix/koffi-linux-x64'), '@koromix/koffi-linux-x64'],
])
  cpSync(from, join(TARGET, 'node_modules', to), {
    recursive: true,
    filter: (path) => !/\/koffi\/(vendor|doc)(\/|$)|\.(cc|hh|inc|S)$/.test(path),
  });

const model = join(TARGET, 'tinystories.duo');
run(process.execPath, ['packages/cli/bin/duobit.mjs', 'quantize', 'fixtures/tinystories-656k', '-o', model]);
const node = join(TARGET, 'node.xz');
if (!existsSync(node)) {
  copyFileSync(process.execPath, join(TARGET, 'node.stripped'));
  run('strip', [join(TARGET, 'node.stripped')]);
  run('sh', ['-c', `xz -9 -T1 -c ${TARGET}/node.stripped > ${node}`]);
  rmSync(join(TARGET, 'node.stripped'));
}
const bytes = readdirSync(TARGET, { recursive: true })
  .map((name) => statSync(join(TARGET, name)))
  .filter((facts) => facts.isFile())
  .reduce((sum, facts) => sum + facts.size, 0);
console.log(`.gpu: ${(bytes / 2 ** 20).toFixed(1)} MiB; run: bash .gpu/run.sh`);
if (bytes > MOST_BYTES) throw new Error(`.gpu is larger than ${MOST_BYTES / 2 ** 20} MiB`);
