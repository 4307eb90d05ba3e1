// Regenerates all committed generated code. `node scripts/generate.mjs` writes; `--check` compares and fails
// on any difference. Each generator returns Map<path from the repository root, text or bytes> and owns the
// folders it names: a file there that it did not make is stale.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateKernels } from '../packages/core/scripts/build-kernels.mjs';
import { generateLinalg } from '../packages/quantizer/scripts/build-linalg.mjs';
import { generateShaders } from '../packages/runtime-web/scripts/build-shaders.mjs';
import { generateTrainingShaders } from '../packages/tfjs/scripts/build-shaders.mjs';
import { generateSchema } from './generate-schema.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const GENERATORS = [
  { name: 'schema', owns: ['packages/format/src/generated'], generate: generateSchema },
  { name: 'kernels', owns: ['packages/core/src/backends/wasm/generated'], generate: generateKernels },
  { name: 'linalg', owns: ['packages/quantizer/src/linalg/generated'], generate: generateLinalg },
  { name: 'shaders', owns: ['packages/runtime-web/src/generated'], generate: generateShaders },
  {
    name: 'training shaders',
    owns: ['packages/tfjs/src/operations/webgpu/generated'],
    generate: generateTrainingShaders,
  },
];

function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? listFiles(path) : [relative(ROOT, path).split(sep).join('/')];
  });
}

const check = process.argv.includes('--check');
const differences = [];
for (const { name, owns, generate } of GENERATORS) {
  const made = await generate(ROOT);
  for (const [path, content] of made) {
    const full = join(ROOT, path);
    const bytes = Buffer.from(content);
    if (existsSync(full) && readFileSync(full).equals(bytes)) continue;
    differences.push(`${name}: ${path} ${existsSync(full) ? 'differs' : 'is missing'}`);
    if (check) continue;
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, bytes);
  }
  for (const path of owns.flatMap((folder) => listFiles(join(ROOT, folder)))) {
    if (made.has(path)) continue;
    differences.push(`${name}: ${path} is stale`);
    if (!check) rmSync(join(ROOT, path));
  }
}

for (const line of differences) console.log(`${check ? 'generated code' : 'wrote'}: ${line}`);
if (check && differences.length > 0) {
  console.error('generated code is out of date: run `npm run generate` and commit the result');
  process.exitCode = 1;
} else console.log(`generated code: ${GENERATORS.length} generators, ${differences.length} differences`);
