// Makes .gpu-llama, a folder beside .gpu that measures llama.cpp's CUDA build and the cuda backend in turns, on a machine that has a GPU, CUDA 13's
// libraries and nothing else: llama.cpp's libraries with machine code for sm_90 (H100, H200) alone, and a program that calls them.
//
//   npm run pack:gpu-llama        a download of 90 MB
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { keepArchitecture } from './fatbin.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TARGET = join(ROOT, '.gpu-llama');
/** With a version that llama-layouts.mjs has. Of 3.15.0 and 3.22.1 this architecture would run PTX of CUDA 13.1, which drivers of 13.0 refuse. */
const PACKAGE = '@node-llama-cpp/linux-x64-cuda';
const VERSION = '3.14.5';
const ARCHITECTURE = 90;
/** Each library under the name that it is opened by; the others are links to it, which npm made copies of. */
const LIBRARY = /^lib.*\.so$/;

const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

rmSync(TARGET, { recursive: true, force: true });
const unpacked = join(TARGET, 'unpacked');
const libraries = join(TARGET, 'llama');
for (const folder of [unpacked, libraries]) mkdirSync(folder, { recursive: true });
const archive = run('npm', ['pack', '--silent', `${PACKAGE}@${VERSION}`], unpacked).trim();
run('tar', ['-xzf', archive], unpacked);
const [bin] = readdirSync(join(unpacked, 'package/bins'));
const folder = join(unpacked, 'package/bins', bin);
for (const name of readdirSync(folder)) {
  if (!LIBRARY.test(name)) continue;
  const bytes = readFileSync(join(folder, name));
  if (name === 'libggml-cuda.so') {
    const kept = keepArchitecture(bytes, ARCHITECTURE);
    if (kept === 0) throw new Error(`${PACKAGE} ${VERSION} has no code for sm_${ARCHITECTURE}`);
    console.log(`${kept} modules for sm_${ARCHITECTURE}`);
  }
  writeFileSync(join(libraries, name), bytes);
}
run('tar', ['-cJf', '../llama.tar.xz', '.'], libraries);
for (const done of [unpacked, libraries]) rmSync(done, { recursive: true });

await build({
  entryPoints: [join(ROOT, 'bench/cuda/llama.mjs')],
  bundle: true,
  platform: 'node',
  format: 'esm',
  conditions: ['@duobit/source'],
  external: ['koffi'],
  outfile: join(TARGET, 'llama.mjs'),
  logLevel: 'warning',
});
copyFileSync(join(ROOT, 'bench/cuda/run.sh'), join(TARGET, 'run.sh'));
const bytes = readdirSync(TARGET).reduce((sum, name) => sum + statSync(join(TARGET, name)).size, 0);
console.log(`.gpu-llama: ${(bytes / 2 ** 20).toFixed(1)} MiB; run: bash .gpu-llama/run.sh`);
