// Puts the kernels of src/operations/webgpu/kernels, without comments and with their imports in place, into
// src/operations/webgpu/generated/shaders.ts. Imports are files of the same folder or of the webgpu backend's. Run through
// `npm run generate`.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quoteShader, stripShader } from '../../runtime-web/scripts/build-shaders.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const KERNELS = join(HERE, '../src/operations/webgpu/kernels');
const FOLDERS = [KERNELS, join(HERE, '../../runtime-web/src/kernels')];

/** Lines of a file, imports replaced, each file once. */
function resolve(name, seen = new Set()) {
  if (seen.has(name)) return [];
  seen.add(name);
  const folder = FOLDERS.find((each) => existsSync(join(each, `${name}.wgsl`)));
  if (!folder) throw new Error(`there is no kernel file "${name}"`);
  return stripShader(readFileSync(join(folder, `${name}.wgsl`), 'utf8'))
    .split('\n')
    .flatMap((line) => {
      const imported = /^#import (\S+)$/.exec(line)?.[1];
      return imported === undefined ? [line] : resolve(imported, seen);
    });
}

/** The generated file as a map of its path from the repository root to its text. */
export function generateTrainingShaders() {
  const entries = readdirSync(KERNELS)
    .filter((name) => name.endsWith('.wgsl'))
    .sort()
    .map((name) => name.slice(0, -'.wgsl'.length))
    .map((name) => [name, resolve(name).join('\n')])
    // Files without one are parts of others.
    .filter(([name, text]) => /^fn main\(/m.test(text) && !/^level-(values|sums)$/.test(name));
  const text = [
    '// Generated from src/operations/webgpu/kernels/*.wgsl by scripts/build-shaders.mjs; do not edit.',
    '',
    '/** WGSL by the name of its file. */',
    'export const SHADERS = {',
    ...entries.map(([name, text]) => quoteShader(name, text)),
    '} as const;',
    '',
  ].join('\n');
  return new Map([['packages/tfjs/src/operations/webgpu/generated/shaders.ts', text]]);
}
