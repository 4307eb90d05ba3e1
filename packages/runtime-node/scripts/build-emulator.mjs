// Builds the emulator: the kernels of the cuda backend as C++ of the host behind a small part of the CUDA driver API, so that
// the whole backend is tested where there is no GPU (kernels/emulator). Needs g++ or what CXX names.
//
//   node scripts/build-emulator.mjs      prints the library's path; builds it if its sources are newer
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const KERNELS = fileURLToPath(new URL('../kernels/', import.meta.url));
const LIBRARY = join(KERNELS, 'build', 'emulator.so');

/** @returns {string} the library's path */
export function buildEmulator() {
  const sources = [KERNELS, join(KERNELS, 'emulator'), join(KERNELS, '../native')]
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((path) => /\.(cu|cuh|cpp|h)$/.test(path));
  const newest = Math.max(...sources.map((path) => statSync(path).mtimeMs));
  if (existsSync(LIBRARY) && statSync(LIBRARY).mtimeMs > newest) return LIBRARY;
  mkdirSync(join(KERNELS, 'build'), { recursive: true });
  const units = ['kernels.cpp', 'fibers.cpp', 'driver.cpp'].map((name) => join(KERNELS, 'emulator', name));
  const flags = [
    '-std=c++17',
    '-O2',
    '-ffp-contract=off',
    '-fno-strict-aliasing',
    '-shared',
    '-fPIC',
    '-Wall',
  ];
  const made = `${LIBRARY}.${process.pid}`;
  execFileSync(process.env.CXX ?? 'g++', [...flags, '-Wno-unknown-pragmas', '-o', made, ...units], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  renameSync(made, LIBRARY);
  return LIBRARY;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(buildEmulator());
