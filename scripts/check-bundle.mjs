// `npm run check:bundle`: what a page that runs models has to load. The whole of @duobit/runtime-web with its worker, tokenizer, shaders
// and WASM has a budget; the chat page may name no address of anybody else.
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build as bundle } from 'esbuild';
import { build as buildPage } from 'vite';

const ROOT = join(import.meta.dirname, '..');
const MOST_GZIP_BYTES = 250_000;

/** Parts of the bundle by the path of their sources, the first that fits. */
const PARTS = [
  ['WASM kernels', /core\/src\/backends\/wasm\/generated\//],
  ['shaders', /runtime-web\/src\/generated\//],
  ['runtime-web', /packages\/runtime-web\//],
  ['core', /packages\/core\//],
  ['format', /packages\/format\//],
  ['tokenizer', /@huggingface\/tokenizers\//],
  ['chat templates', /@huggingface\/jinja\//],
  ['flatbuffers', /node_modules\/flatbuffers\//],
];

/**
 * Addresses that nothing is asked for at: a name in SVG, this machine, a key in the browser's Cache; and the hub, where it is what somebody
 * wants a model from, by `hf:user/name`.
 */
const KNOWN = [
  'http://www.w3.org/2000/svg',
  'http://127.0.0.1:',
  'https://tuning.duobit.invalid/',
  'https://huggingface.co',
];

const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
const failures = [];

// Page and worker share most of it, so code of both is counted once.
const { outputFiles, metafile } = await bundle({
  entryPoints: {
    index: join(ROOT, 'packages/runtime-web/src/index.ts'),
    worker: join(ROOT, 'packages/runtime-web/src/worker/entry.ts'),
  },
  bundle: true,
  splitting: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['@duobit/source'],
  outdir: join(ROOT, 'out'),
  write: false,
  metafile: true,
  logLevel: 'error',
});
const parts = new Map();
for (const { inputs } of Object.values(metafile.outputs))
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const [part] = PARTS.find(([, pattern]) => pattern.test(path)) ?? [path];
    parts.set(part, (parts.get(part) ?? 0) + bytesInOutput);
  }
const whole = outputFiles.reduce((sum, { contents }) => sum + contents.length, 0);
const zipped = outputFiles.reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
for (const [part, bytes] of [...parts].sort(([, a], [, b]) => b - a))
  console.log(`bundle: ${kilobytes(bytes).padStart(9)}  ${part}`);
console.log(
  `bundle: runtime-web with all of it: ${kilobytes(whole)}, ${kilobytes(zipped)} gzip of at most ${kilobytes(MOST_GZIP_BYTES)}`,
);
if (zipped > MOST_GZIP_BYTES) failures.push(`${zipped} bytes gzip; at most ${MOST_GZIP_BYTES}`);

const folder = await mkdtemp(join(tmpdir(), 'duobit-bundle-'));
try {
  await buildPage({
    configFile: join(ROOT, 'packages/runtime-web/demo/vite.config.ts'),
    logLevel: 'error',
    build: { outDir: folder, emptyOutDir: true },
  });
  let size = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!/\.(js|css|html|svg)$/.test(entry.name)) continue;
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
    // What `?thread=main` alone loads is in the worker too.
    if (/(?<!here-\S*)\.js$/.test(entry.name)) size += gzipSync(text, { level: 9 }).length;
    for (const [address] of text.matchAll(/\bhttps?:\/\/[\w-]+(\.[\w-]+)+[^\s"'`)]*/g))
      if (!KNOWN.some((known) => address.startsWith(known))) failures.push(`${entry.name} names ${address}`);
  }
  console.log(`bundle: scripts of the chat page, its worker included: ${kilobytes(size)} gzip`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
for (const failure of failures) console.error(`bundle: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
