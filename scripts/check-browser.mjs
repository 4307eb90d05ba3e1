// Checks the wasm backend in Chromium: in a Web Worker and in the page itself, on one thread and on several, in a page with
// and without cross-origin isolation. Plain SIMD must give the bits that Node gives; every number of threads the same.
// Needs `npm run build` and a Chromium: node scripts/check-browser.mjs [command of the browser, default chromium]
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { CHROMIUM_FLAGS } from '../bench/browser/chromium.mjs';
import { runJob } from './browser/job.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const LIMIT_MS = 120_000;

const MODELS = [
  { linear: 'w11', embedding: 'int8' },
  { linear: 'f32', embedding: 'int4' },
];

async function bundlePage(folder) {
  await build({
    config: false,
    entry: { page: join(HERE, 'browser/page.mjs') },
    outDir: folder,
    format: ['esm'],
    target: 'es2022',
    platform: 'browser',
    noExternal: [/./],
    outExtension: () => ({ js: '.js' }),
    splitting: false,
    silent: true,
  });
  return readFileSync(join(folder, 'page.js'));
}

/** Opens the page in a new browser; resolves with what it answers. */
async function runPage(script, jobs, headers, profile) {
  const { promise: answer, resolve, reject } = newPromise();
  const server = createServer(async (request, response) => {
    const send = (type, body) => response.writeHead(200, { ...headers, 'Content-Type': type }).end(body);
    if (request.url === '/') send('text/html', '<script type="module" src="/page.js"></script>');
    else if (request.url === '/page.js') send('text/javascript', script);
    else if (request.url === '/jobs') send('application/json', JSON.stringify(jobs));
    else if (request.url === '/answer') {
      const chunks = await request.toArray();
      send('text/plain', '');
      resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    } else response.writeHead(404).end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${server.address().port}/`;
  // A group of its own, so that ending it ends the browser's other processes too.
  const browser = spawn(
    process.argv[2] ?? 'chromium',
    [...CHROMIUM_FLAGS, `--user-data-dir=${profile}`, url],
    {
      detached: true,
      stdio: 'ignore',
    },
  );
  browser.once('error', reject);
  browser.once('exit', (code) => reject(new Error(`the browser ended with ${code}`)));
  const timer = setTimeout(() => reject(new Error(`no answer in ${LIMIT_MS / 1000} s`)), LIMIT_MS);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
    server.closeAllConnections();
    server.close();
    if (browser.pid !== undefined && browser.exitCode === null) {
      const ended = new Promise((done) => browser.once('exit', done));
      process.kill(-browser.pid, 'SIGKILL');
      await ended;
    }
  }
}

function newPromise() {
  let resolve;
  let reject;
  const promise = new Promise((...settle) => {
    [resolve, reject] = settle;
  });
  return { promise, resolve, reject };
}

const folder = mkdtempSync(join(tmpdir(), 'duobit-browser-'));
const script = await bundlePage(folder);
let failures = 0;
for (const isolated of [true, false]) {
  const jobs = MODELS.flatMap((model) =>
    ['worker', 'page'].flatMap((where) =>
      [true, false].flatMap((relaxedSimd) =>
        [1, 3].map((threads) => ({ where, options: { ...model, relaxedSimd, threads } })),
      ),
    ),
  );
  const answers = await runPage(script, jobs, isolated ? ISOLATION : {}, join(folder, `profile-${isolated}`));
  const expected = new Map();
  for (const [index, { where, options }] of jobs.entries()) {
    const { threads, logits, milliseconds, error } = answers[index];
    const name = `${options.linear}, ${options.relaxedSimd ? 'relaxed' : 'plain'} SIMD`;
    if (!expected.has(name))
      expected.set(name, options.relaxedSimd ? logits : (await runJob({ ...options, threads: 1 })).logits);
    const wanted = isolated ? options.threads : 1;
    const same = logits?.every((value, i) => value === expected.get(name)[i]);
    const verdict =
      error ?? (threads !== wanted ? `${threads} threads, not ${wanted}` : same ? 'ok' : 'other values');
    if (verdict !== 'ok') failures++;
    console.log(
      `${isolated ? 'isolated' : 'plain page'}, ${where}, ${name}, ${options.threads} asked: ${verdict} (${milliseconds?.toFixed(0)} ms)`,
    );
  }
}
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
console.log(failures === 0 ? 'browser: all as in Node' : `browser: ${failures} failures`);
process.exitCode = failures === 0 ? 0 : 1;
