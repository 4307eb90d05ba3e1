// Builds the emulator: the kernels of the cuda backend as C++ of the host behind a small part of the CUDA driver API, so that
// the whole backend is tested where there is no GPU (kernels/emulator). Needs g++ or what CXX names.
//
//   node scripts/build-emulator.mjs [--watched]     prints the library's path; builds it if its sources are newer
//
// --watched  the one that looks at every access to memory, for races and the like (kernels/emulator/watch.h); it is much slower
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const KERNELS = fileURLToPath(new URL('../kernels/', import.meta.url));

/** @returns {string} the library's path */
export function buildEmulator(watched = false) {
  const library = join(KERNELS, 'build', watched ? 'emulator-watched.so' : 'emulator.so');
  const sources = [KERNELS, join(KERNELS, 'emulator'), join(KERNELS, '../native')]
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((path) => /\.(cu|cuh|cpp|h)$/.test(path));
  const newest = Math.max(...sources.map((path) => statSync(path).mtimeMs));
  if (existsSync(library) && statSync(library).mtimeMs > newest) return library;
  mkdirSync(join(KERNELS, 'build'), { recursive: true });
  const at = (name) => join(KERNELS, 'emulator', name);
  const flags = [
    '-std=c++17',
    '-O2',
    '-ffp-contract=off',
    '-fno-strict-aliasing',
    '-fno-threadsafe-statics',
    '-fPIC',
    '-Wall',
    '-Wno-unknown-pragmas',
  ];
  const compile = (...rest) =>
    execFileSync(process.env.CXX ?? 'g++', [...flags, ...rest], { stdio: ['ignore', 'ignore', 'pipe'] });
  const made = `${library}.${process.pid}`;
  const host = ['fibers.cpp', 'driver.cpp', 'watch.cpp'].map(at);
  if (!watched) compile('-shared', '-o', made, at('kernels.cpp'), ...host);
  else {
    // Without the flag when it is linked, which would bring the sanitizer's own library.
    const kernels = `${made}.o`;
    compile('-fsanitize=thread', '-DDUOBIT_WATCHED', '-c', '-o', kernels, at('kernels.cpp'));
    compile('-shared', '-o', made, kernels, ...host);
    rmSync(kernels);
  }
  renameSync(made, library);
  return library;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  console.log(buildEmulator(process.argv.includes('--watched')));
