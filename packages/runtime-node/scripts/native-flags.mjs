// How the addon's C++ is compiled, for the addon, its prebuilt packages and its test programs alike. Run by
// native/binding.gyp to print what it needs:   node native-flags.mjs flags | headers | sources | machine <file> <processor>
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Rounding must be what the source says: no product is fused with a sum unless written so. */
export const FLAGS = [
  '-std=c++17',
  '-O3',
  '-fPIC',
  '-fvisibility=hidden',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-Wall',
  '-Wextra',
];

const AVX2 = '-mavx2 -mfma -mf16c';
const AVX512 = `${AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni`;

/** By Node's name of the processor, then by file. */
const SETS = {
  x64: {
    'kernels-avx2.cpp': AVX2,
    'kernels-training-avx2.cpp': AVX2,
    'kernels-avx512.cpp': AVX512,
    'kernels-training-avx512.cpp': AVX512,
  },
  arm64: { 'kernels-neon-dotprod.cpp': '-march=armv8.2-a+dotprod' },
};

/** Instruction set of one file; kernels also keep quiet about GCC 12's own intrinsics with "undefined" values. */
export function machineFlags(file, processor = process.arch) {
  const own = SETS[processor]?.[file]?.split(' ') ?? [];
  return file.startsWith('kernels-') ? ['-Wno-uninitialized', '-Wno-maybe-uninitialized', ...own] : own;
}

/** Where the headers of Node-API and of its C++ wrapper lie, from npm. */
export function headerFolders() {
  const require = createRequire(import.meta.url);
  return [
    join(dirname(require.resolve('node-api-headers/package.json')), 'include'),
    dirname(require.resolve('node-addon-api/package.json')),
  ];
}

export const DEFINES = ['NAPI_VERSION=8', 'NAPI_CPP_EXCEPTIONS'];

export function headerFlags() {
  return [
    ...headerFolders().flatMap((folder) => ['-isystem', folder]),
    ...DEFINES.map((name) => `-D${name}`),
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [what, file, processor] = process.argv.slice(2);
  const apart = Object.values(SETS).flatMap(Object.keys);
  const lines = {
    flags: () => FLAGS,
    headers: headerFolders,
    /** All that need no instruction set of their own. */
    sources: () => readdirSync('.').filter((name) => name.endsWith('.cpp') && !apart.includes(name)),
    machine: () => machineFlags(file, processor),
  };
  console.log(lines[what]().join('\n'));
}
