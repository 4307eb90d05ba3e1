// Compiles assembly/*.ts to one WebAssembly module with SIMD128, base64 in src/linalg/generated/kernels.ts. There is no
// build with relaxed SIMD: its fused operations differ between machines, and a quantized file must not. Run through
// `npm run generate`.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, formatConstant } from '../../core/scripts/build-kernels.mjs';

const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The generated file as a map of its path from the repository root to its text. */
export async function generateLinalg() {
  // A new memory is zero, so that the module's static buffers need no bytes.
  const bytes = await compile('assembly/index.ts', PACKAGE, ['--zeroFilledMemory']);
  const text = [
    '// Generated from assembly/*.ts by scripts/build-linalg.mjs; do not edit.',
    '',
    ...formatConstant('LINALG_BASE64', 'The linear algebra module, WebAssembly with SIMD128, base64.', bytes),
  ].join('\n');
  return new Map([['packages/quantizer/src/linalg/generated/kernels.ts', text]]);
}
