// Compiles assembly/*.ts to WebAssembly, without and with relaxed SIMD, and writes both, base64, into
// src/backends/wasm/generated/kernels.ts, so that browsers and Node load the kernels without reading a file. The same
// compiler version gives the same bytes.
// Run directly, or through `npm run generate`; with --check it only compares.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import asc from 'assemblyscript/asc';

const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), '..');
const ROOT = join(PACKAGE, '../..');

/** SIMD128 and nothing newer; no runtime, no allocator; the host brings the memory. */
export const FLAGS = [
  '-O3',
  '--converge',
  '--noAssert',
  '--uncheckedBehavior',
  'always',
  '--runtime',
  'stub',
  '--importMemory',
  '--noExportMemory',
  '--enable',
  'simd',
];

/** Atomics, and a memory that threads share: the host takes that back for a single thread (src/backends/wasm/kernels.ts). */
const SHARED = ['--enable', 'threads', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536'];
export const RELAXED = ['--enable', 'relaxed-simd'];

/** Compiles `entry`, a path relative to `baseDir`. Returns the module's bytes. */
export async function compile(entry, baseDir, flags = []) {
  let bytes = null;
  const { error, stderr } = await asc.main(
    [entry, ...FLAGS, ...flags, '--baseDir', baseDir, '--outFile', 'kernels.wasm'],
    {
      readFile: (name, base) => readFile(join(base, name), 'utf8').catch(() => null),
      writeFile: (_name, contents) => {
        bytes = contents;
      },
      listFiles: () => [],
    },
  );
  if (error || !bytes) throw new Error(`assembly of ${entry} failed: ${error?.message ?? ''}\n${stderr}`);
  const warnings = stderr.toString();
  if (warnings.includes('WARNING')) throw new Error(`assembly of ${entry} gave warnings:\n${warnings}`);
  return bytes;
}

/** The backend's kernel module. */
export function compileKernels({ relaxed }) {
  return compile('assembly/index.ts', PACKAGE, relaxed ? [...SHARED, ...RELAXED] : SHARED);
}

/** Lines of a TypeScript constant that holds a module, base64. */
export function formatConstant(name, description, bytes) {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,100}/g);
  return [
    `/** ${description} */`,
    `export const ${name} = [`,
    ...lines.map((line) => `  '${line}',`),
    "].join('');",
    '',
  ];
}

/** The generated file as a map of its path from the repository root to its text. */
export async function generateKernels() {
  const text = [
    '// Generated from assembly/*.ts by scripts/build-kernels.mjs; do not edit.',
    '',
    ...formatConstant(
      'KERNELS_BASE64',
      'The kernel module, WebAssembly with SIMD128 and atomics, base64.',
      await compileKernels({ relaxed: false }),
    ),
    ...formatConstant(
      'RELAXED_KERNELS_BASE64',
      'The same with relaxed SIMD.',
      await compileKernels({ relaxed: true }),
    ),
  ].join('\n');
  return new Map([['packages/core/src/backends/wasm/generated/kernels.ts', text]]);
}

/** Writes the generated file; with `check` throws instead when the committed file differs. */
export async function build({ check }) {
  for (const [path, text] of await generateKernels()) {
    const target = join(ROOT, path);
    if (check) {
      const committed = await readFile(target, 'utf8').catch(() => '');
      if (committed === text) continue;
      throw new Error(`${path} does not match assembly/*.ts; run \`npm run generate\` and commit the result`);
    }
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await build({ check: process.argv.includes('--check') });
}
