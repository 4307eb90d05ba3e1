// The conformance suite in headless Chromium, on whatever WebGPU it has; without a GPU that is SwiftShader.
//
//   node bench/webgpu/browser.mjs [pattern of case names]
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { CHROMIUM_FLAGS, findChromium } from '../browser/chromium.mjs';

const filter = process.argv[2] ?? '';
const spread = { lanes: 8, rows: 2, workgroup: 64 };
const JOBS = [
  { name: 'all', options: { tuning: spread }, filter },
  {
    name: 'plain',
    options: { tuning: spread, variant: { subgroups: false, packedDot: false, f16: false } },
    filter,
  },
];

const { command, version, reason } = findChromium();
if (!command) throw new Error(reason);
const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL('browser-page.mjs', import.meta.url))],
  bundle: true,
  format: 'esm',
  conditions: ['@duobit/source'],
  external: ['node:*'],
  write: false,
  logLevel: 'warning',
});

let finish;
const finished = new Promise((resolve) => {
  finish = resolve;
});
const server = createServer(async (request, response) => {
  if (request.url === '/say') {
    let body = '';
    for await (const chunk of request) body += chunk;
    response.end();
    const message = JSON.parse(body);
    if (message.done) finish(message.error ?? null);
    else {
      console.log(
        `${message.name} (${message.variant}) on ${message.adapter}: ${message.passed} pass, ${message.failures.length} fail`,
      );
      for (const failure of message.failures.slice(0, 6)) console.log(`  FAIL ${failure.slice(0, 500)}`);
      if (message.failures.length > 0) process.exitCode = 1;
    }
    return;
  }
  const [type, text] =
    request.url === '/jobs'
      ? ['application/json', JSON.stringify(JOBS)]
      : request.url === '/page.mjs'
        ? ['text/javascript', outputFiles[0].text]
        : ['text/html', '<!doctype html><script type="module" src="/page.mjs"></script>'];
  response.writeHead(200, { 'content-type': type }).end(text);
}).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));

const profile = mkdtempSync(join(tmpdir(), 'duobit-chromium-'));
const flags = CHROMIUM_FLAGS.filter((flag) => flag !== '--disable-gpu');
const browser = spawn(
  command,
  [
    ...flags,
    '--enable-unsafe-webgpu',
    '--use-webgpu-adapter=swiftshader',
    '--enable-features=Vulkan',
    `--user-data-dir=${profile}`,
    `http://127.0.0.1:${server.address().port}/`,
  ],
  { stdio: ['ignore', 'ignore', 'ignore'], detached: true },
);
console.log(version);
const timer = setTimeout(() => finish('no answer in 20 minutes'), 1_200_000);
const error = await finished;
clearTimeout(timer);
process.kill(-browser.pid, 'SIGKILL');
server.close();
rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
if (error) {
  console.error(error);
  process.exitCode = 1;
}
