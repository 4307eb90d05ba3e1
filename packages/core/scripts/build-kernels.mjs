// Compiles assembly/*.ts to WebAssembly and writes it, base64, into src/backends/wasm/generated/kernels.ts, so that
// browsers and Node load the kernels without reading a file. The same compiler version gives the same bytes.
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

/** Compiles `entry`, a path relative to `baseDir`. Returns the module's bytes. */
export async function compile(entry, baseDir) {
  let bytes = null;
  const { error, stderr } = await asc.main(
    [entry, ...FLAGS, '--baseDir', baseDir, '--outFile', 'kernels.wasm'],
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

/** The generated file as a map of its path from the repository root to its text. */
export async function generateKernels() {
  const bytes = await compile('assembly/index.ts', PACKAGE);
  const lines = Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,100}/g);
  const text = [
    '// Generated from assembly/*.ts by scripts/build-kernels.mjs; do not edit.',
    '',
    '/** The kernel module, WebAssembly with SIMD128, base64. */',
    'export const KERNELS_BASE64 = [',
    ...lines.map((line) => `  '${line}',`),
    "].join('');",
    '',
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
