// `npm run web`: builds the chat page, puts the embedded model beside it as any static host would have it, and serves the folder
// with the headers that threads need: npm run web [-- --port 8080] [-- --model file.duo]
import { copyFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build, preview } from 'vite';

const ROOT = join(import.meta.dirname, '..');
const DEMO = join(ROOT, 'packages/runtime-web/demo');
const FOLDER = join(ROOT, 'out/web');
const EMBEDDED = join(ROOT, 'fixtures/embedded/tinystories-656k.duo');
/** The checkpoint writes its end marker as ordinary text, so it is a stop text. */
const STORIES = {
  prompts: ['Once upon a time', 'One day, a little girl named Lily found a', 'Tom had a big red ball.'],
  stop: ['<|end_story|>'],
};

const { values } = parseArgs({
  options: { port: { type: 'string', default: '8080' }, model: { type: 'string' } },
});
const model = values.model === undefined ? EMBEDDED : resolve(values.model);
const name = basename(model);
const configFile = join(DEMO, 'vite.config.ts');
await build({ configFile, logLevel: 'warn', build: { outDir: FOLDER } });
copyFileSync(model, join(FOLDER, name));
writeFileSync(
  join(FOLDER, 'model.json'),
  `${JSON.stringify({ model: name, ...(model === EMBEDDED ? STORIES : {}) })}\n`,
);
const server = await preview({
  configFile,
  logLevel: 'warn',
  build: { outDir: FOLDER },
  preview: { port: Number(values.port), host: '127.0.0.1' },
});
console.log(`${server.resolvedUrls.local[0]} serves ${FOLDER} with ${name}; Ctrl-C ends it`);
