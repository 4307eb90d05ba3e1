// Load on `duobit serve`: clients that stream answers one after the other for a while, some of which they leave in the middle. Counts
// failures, takes times to first tokens as clients see them, and memory from /metrics. Writes a record and a page of all such records.
//
//   node bench/serve.mjs [--model model.duo] [--clients 200] [--seconds 600] [--parallel 8] [--aborts 0.1] [--name name] [--record]
//
// Needs `npm run build`. Server and clients share the machine's processor.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readArguments } from './arguments.mjs';
import { ROOT } from './options.mjs';
import { describeRun } from './record.mjs';
import { formatServePage, quantile } from './serve-page.mjs';
import { writePage } from './write-page.mjs';

const EMBEDDED = 'fixtures/embedded/tinystories-656k.duo';

const options = readArguments(
  {
    model: { type: 'string', default: EMBEDDED },
    clients: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '600' },
    parallel: { type: 'string', default: '8' },
    aborts: { type: 'string', default: '0.1' },
    name: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
  import.meta.url,
);
const [clients, seconds, parallel, aborts] = ['clients', 'seconds', 'parallel', 'aborts'].map((name) =>
  Number(options[name]),
);
const SAMPLE_SECONDS = 10;
const LONGEST = 96;
/** The embedded model has none. */
const TEMPLATE = '{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}';
const BEGINNINGS = [
  'Once upon a time there was a little',
  'The dog ran to the',
  'Write a story about a girl who finds a box in the garden. Her mother tells her not to open it.',
  'One day, Tom and his friend Lily went to the park to play with a ball. It was sunny, and they were happy. Then a big dog came and',
  'What is the capital of France?',
];

const describe = describeRun();
const folder = await mkdtemp(path.join(tmpdir(), 'duobit-serve-'));
const server = await startServer();
const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
const counts = { answers: 0, aborted: 0, failed: 0 };
const failures = new Map();
/** Milliseconds, of all streams that had a token. */
const firstTokens = [];
const begun = performance.now();
const deadline = begun + 1000 * seconds;
const samples = [];
const sampler = sample();
await Promise.all(Array.from({ length: clients }, (_, client) => runClient(client)));
const wall = (performance.now() - begun) / 1000;
await sampler;
// What was left in the middle has its end noted when the connection is closed.
await new Promise((resolve) => setTimeout(resolve, 1000));
const last = await readMetrics();
server.child.kill('SIGTERM');
const [exitCode] = await once(server.child, 'exit');
await rm(folder, { recursive: true });

firstTokens.sort((a, b) => a - b);
const record = {
  ...describe('serve'),
  model: path.basename(options.model),
  server: server.facts,
  options: { clients, seconds, parallel, aborts, longest: LONGEST },
  ...counts,
  failures: Object.fromEntries(failures),
  firstTokenMs: Object.fromEntries(
    [50, 95, 99].map((percent) => [`p${percent}`, quantile(firstTokens, percent / 100)]),
  ),
  wallSeconds: wall,
  tokensPerSecond: last.duobit_generated_tokens_total / wall,
  reusedShare: last.duobit_reused_prompt_tokens_total / last.duobit_prompt_tokens_total,
  left: { running: last.duobit_running, waiting: last.duobit_waiting },
  exitCode,
  samples,
};
const name =
  options.name ?? `serve-${path.basename(options.model, '.duo')}-${new Date().toISOString().slice(0, 10)}`;
writePage(record, {
  name,
  isKept: options.record,
  page: 'serve.md',
  format: () => formatServePage(readRecords()),
});
if (counts.failed > 0 || exitCode !== 0) process.exitCode = 1;

/** Of all runs that are kept where this one is. */
function readRecords() {
  const records = path.join(ROOT, options.record ? 'docs/results' : 'out/bench', 'records');
  return readdirSync(records)
    .filter((file) => /^serve-.*\.json$/.test(file))
    .map((file) => ({
      source: `records/${file}`,
      record: JSON.parse(readFileSync(path.join(records, file), 'utf8')),
    }));
}

async function startServer() {
  const template = path.join(folder, 'template.jinja');
  await writeFile(template, TEMPLATE);
  const bin = path.join(ROOT, 'packages/cli/bin/duobit.mjs');
  const argv = ['serve', options.model, '--port', '0', '--json', '--log-level', 'error'];
  argv.push('--parallel', options.parallel, '--queue', String(2 * clients));
  if (options.model === EMBEDDED) argv.push('--chat-template', template);
  const child = spawn(process.execPath, [bin, ...argv], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  for await (const piece of child.stdout) {
    text += piece;
    if (text.endsWith('}\n')) return { child, facts: JSON.parse(text) };
  }
  throw new Error('the server did not start');
}

/** One after the other, each with another prompt, until the time is over. */
async function runClient(client) {
  const random = createRandom(client);
  while (performance.now() < deadline) {
    const leaveAfter = random() < aborts ? Math.floor(random() * 20) : null;
    const beginning = BEGINNINGS[Math.floor(random() * BEGINNINGS.length)];
    const maxTokens = 8 + Math.floor(random() * (LONGEST - 8));
    const isChat = random() < 0.5;
    const body = { temperature: 0.8, seed: Math.floor(random() * 1e6), max_tokens: maxTokens, stream: true };
    const outcome = await stream(
      isChat ? '/v1/chat/completions' : '/v1/completions',
      isChat
        ? { ...body, messages: [{ role: 'user', content: `${beginning} ${client}` }] }
        : { ...body, prompt: `${beginning} ${client}` },
      leaveAfter,
    ).catch((error) => `${error.code ?? ''} ${error.message}`);
    counts[outcome === 'complete' ? 'answers' : outcome === 'left' ? 'aborted' : 'failed']++;
    if (outcome !== 'complete' && outcome !== 'left') failures.set(outcome, (failures.get(outcome) ?? 0) + 1);
  }
}

/** @returns 'complete', 'left', or what went wrong */
function stream(route, body, leaveAfter) {
  return new Promise((resolve, reject) => {
    const asked = performance.now();
    const headers = { 'content-type': 'application/json' };
    const request = http.request(
      `${server.facts.address}${route}`,
      { method: 'POST', agent, headers },
      (response) => {
        let rest = '';
        let pieces = 0;
        let hasFinish = false;
        let isDone = false;
        let problem = response.statusCode === 200 ? null : `status ${response.statusCode}`;
        response.setEncoding('utf8');
        response.on('data', (text) => {
          const frames = (rest + text).split('\n\n');
          rest = frames.pop();
          for (const frame of frames) {
            if (frame === 'data: [DONE]') isDone = true;
            else {
              const piece = JSON.parse(frame.slice('data: '.length));
              if (piece.error) problem = piece.error.code;
              if (piece.choices?.[0]?.finish_reason) hasFinish = true;
              if (pieces++ === 0) firstTokens.push(performance.now() - asked);
            }
          }
          if (leaveAfter === null || pieces <= leaveAfter) return;
          resolve('left');
          request.destroy();
        });
        response.on('end', () => resolve(problem ?? (isDone && hasFinish ? 'complete' : 'no end')));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

async function sample() {
  let tokens = 0;
  for (let time = SAMPLE_SECONDS; time <= seconds; time += SAMPLE_SECONDS) {
    await new Promise((resolve) => setTimeout(resolve, begun + 1000 * time - performance.now()));
    const metrics = await readMetrics();
    samples.push({
      seconds: time,
      rssBytes: metrics.process_resident_memory_bytes,
      heapBytes: metrics.nodejs_heap_size_used_bytes,
      tokensPerSecond: (metrics.duobit_generated_tokens_total - tokens) / SAMPLE_SECONDS,
      running: metrics.duobit_running,
      waiting: metrics.duobit_waiting,
    });
    tokens = metrics.duobit_generated_tokens_total;
  }
}

async function readMetrics() {
  const text = await (await fetch(`${server.facts.address}/metrics`)).text();
  return Object.fromEntries(
    text
      .split('\n')
      .filter((line) => /^[a-z_]+ /.test(line))
      .map((line) => line.split(' '))
      .map(([key, value]) => [key, Number(value)]),
  );
}

/** Numbers from 0 to 1 that are the same in each run (mulberry32). */
function createRandom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
