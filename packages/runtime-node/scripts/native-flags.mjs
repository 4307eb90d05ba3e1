// How the addon's C++ is compiled, for the addon and for its sanitizer runs alike.

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

const X64 = {
  'kernels-avx2.cpp': ['-mavx2', '-mfma', '-mf16c'],
  'kernels-avx512.cpp': '-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni'.split(
    ' ',
  ),
};

/** Instruction set of one file; kernels also keep quiet about GCC 12's own intrinsics with "undefined" values. */
export function machineFlags(file) {
  const own = process.arch === 'x64' ? (X64[file] ?? []) : [];
  return file.startsWith('kernels-') ? ['-Wno-uninitialized', '-Wno-maybe-uninitialized', ...own] : own;
}
