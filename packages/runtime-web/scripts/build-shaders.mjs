// Puts src/kernels/*.wgsl, without comments, into src/generated/shaders.ts, so that browsers and Node load kernels without
// reading files. Imports stay in the text: src/shaders.ts resolves them, as what they name depends on the device.
// Run through `npm run generate`.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KERNELS = join(dirname(fileURLToPath(import.meta.url)), '../src/kernels');

/** WGSL without comments and empty lines. */
export function stripShader(source) {
  return source
    .split('\n')
    .map((line) => line.replace(/\s*\/\/.*$/, '').trimEnd())
    .filter((line) => line !== '')
    .join('\n');
}

/** An entry of a generated table. */
export function quoteShader(name, text) {
  if (/[`\\]|\$\{/.test(text))
    throw new Error(`${name} has characters that a template literal takes for its own`);
  return `  '${name}': \`${text}\`,`;
}

/** The generated file as a map of its path from the repository root to its text. */
export function generateShaders() {
  const names = readdirSync(KERNELS)
    .filter((name) => name.endsWith('.wgsl'))
    .sort();
  const entries = names.map((name) => {
    const text = stripShader(readFileSync(join(KERNELS, name), 'utf8'));
    return quoteShader(name.slice(0, -'.wgsl'.length), text);
  });
  const text = [
    '// Generated from src/kernels/*.wgsl by scripts/build-shaders.mjs; do not edit.',
    '',
    '/** WGSL by the name of its file. */',
    'export const SHADERS: Readonly<Record<string, string>> = {',
    ...entries,
    '};',
    '',
    '/** Changes with every kernel. */',
    `export const SHADERS_VERSION = '${createHash('sha256').update(entries.join()).digest('hex').slice(0, 16)}';`,
    '',
  ].join('\n');
  return new Map([['packages/runtime-web/src/generated/shaders.ts', text]]);
}
