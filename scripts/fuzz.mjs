// `npm run fuzz`: both fuzz campaigns whole, over the sources of @duobit/format, on a few threads. Prints how often
// each code came and how fast; ends with 1 on the first broken promise, whose bytes and origin are kept in out/fuzz.
//   --seed N --random N --threads N    of the random campaign (200,000 mutants by default), and of the run
//   --only exhaustive|repaired|random  one campaign
//   --case CAMPAIGN:INDEX              one case again
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { bundleSource } from './bundle-source.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const OUT = join(ROOT, 'out/fuzz');
const TASK_CASES = 4000;
/** A thread that stays at one case for so long hangs; a case takes about a millisecond. */
const HANG_SECONDS = 20;
/** Heap and array buffers of a thread after a garbage collection, later minus earlier. */
const MOST_GROWTH_MIB = 8;
const MIB = 2 ** 20;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    random: { type: 'string', default: '200000' },
    threads: { type: 'string', default: String(Math.min(2, cpus().length)) },
    only: { type: 'string' },
    case: { type: 'string' },
  },
});

const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
const knownCodes = [...page.matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map((match) => match[1]);
const bundle = await bundleSource(join(ROOT, 'packages/format/test/fuzz/worker.ts'), OUT);
const seed = Number(values.seed);

/** Keeps what it takes to see a failure again. */
function keepFailure({ bytes, ...facts }) {
  mkdirSync(OUT, { recursive: true });
  const name = `failure-${facts.campaign}-seed-${facts.seed}-case-${facts.index}`;
  if (bytes) writeFileSync(join(OUT, `${name}.duo`), bytes);
  writeFileSync(join(OUT, `${name}.json`), `${JSON.stringify(facts, null, 2)}\n`);
  console.error(`FAILED: ${JSON.stringify(facts, null, 2)}`);
  console.error(
    `kept as out/fuzz/${name}.{duo,json}; again with --seed ${seed} --case ${facts.campaign}:${facts.index}`,
  );
}

class Thread {
  progress = new SharedArrayBuffer(4);
  memory = [];
  task = null;
  constructor() {
    const settings = { knownCodes, seed, randomCases: Number(values.random), progress: this.progress };
    // Heap beyond this is a failure too: no file here has 100 kB.
    this.worker = new Worker(bundle, {
      workerData: settings,
      resourceLimits: { maxOldGenerationSizeMb: 256 },
    });
    this.worker.on('message', (message) => this.answer.resolve(message));
    this.worker.on('error', (error) => this.answer.reject(error));
    this.ready = this.next();
  }
  next() {
    return new Promise((resolve, reject) => {
      this.answer = { resolve, reject };
    });
  }
  async run(task) {
    this.task = task;
    const answer = this.next();
    this.worker.postMessage(task);
    const { tally, failure, memory } = await answer;
    if (memory !== null) this.memory.push(memory);
    return { tally, failure };
  }
  get index() {
    return Atomics.load(new Int32Array(this.progress), 0);
  }
}

function printCounts(title, counts) {
  console.log(`  ${title}`);
  const rows = [...counts].sort((a, b) => b[1] - a[1]);
  for (const [code, times] of rows) console.log(`    ${String(times).padStart(9)}  ${code}`);
}

function merge(into, from) {
  for (const [key, times] of from) into.set(key, (into.get(key) ?? 0) + times);
}

let failed = false;
const threads = Array.from({ length: values.case ? 1 : Number(values.threads) }, () => new Thread());
const [{ cases, files }] = await Promise.all(threads.map((thread) => thread.ready));
console.log(`${threads.length} threads, seed ${seed}, Node ${process.version}, ${cpus()[0]?.model}`);
for (const file of files) console.log(`file ${file.name}: ${file.bytes} bytes, header ${file.headerLength}`);

/** Watches the threads of one campaign; a hang cannot be stopped from inside. Says each minute how far it is. */
function watch(campaign, total) {
  let minute = Date.now();
  const seen = threads.map(() => ({ index: -1, since: Date.now() }));
  return setInterval(() => {
    if (Date.now() - minute > 60_000) {
      minute = Date.now();
      console.error(`${campaign}: ${total.cases} cases so far`);
    }
    for (const [i, thread] of threads.entries()) {
      if (!thread.task || thread.index !== seen[i].index) {
        seen[i] = { index: thread.index, since: Date.now() };
      } else if (Date.now() - seen[i].since > 1000 * HANG_SECONDS) {
        const error = `no end after ${HANG_SECONDS} seconds`;
        keepFailure({ campaign, seed, index: thread.index, error });
        process.exit(1);
      }
    }
  }, 1000);
}

async function runCampaign(name, from, to) {
  const started = performance.now();
  const total = { cases: 0, accepted: 0, codes: new Map(), opened: new Map() };
  let next = from;
  const watcher = watch(name, total);
  await Promise.all(
    threads.map(async (thread) => {
      while (next < to && !failed) {
        const task = { campaign: name, from: next, to: Math.min(next + TASK_CASES, to) };
        next = task.to;
        const { tally, failure } = await thread.run(task);
        total.cases += tally.cases;
        total.accepted += tally.accepted;
        merge(total.codes, tally.codes);
        merge(total.opened, tally.opened);
        if (failure) {
          failed = true;
          keepFailure(failure);
        }
      }
      thread.task = null;
    }),
  );
  clearInterval(watcher);
  const seconds = (performance.now() - started) / 1000;
  const rate = Math.round(total.cases / seconds);
  console.log(
    `\n${name}: ${total.cases} cases in ${seconds.toFixed(1)} s, ${rate} a second, ${total.accepted} accepted`,
  );
  printCounts('cases in which validation reports', total.codes);
  printCounts('what opening and reading give', total.opened);
}

if (values.case) {
  const [name, index] = values.case.split(':');
  await runCampaign(name, Number(index), Number(index) + 1);
} else {
  for (const name of Object.keys(cases)) {
    if (!failed && (values.only ?? name) === name) await runCampaign(name, 0, cases[name]);
  }
}

for (const [i, { memory }] of threads.entries()) {
  // The first tasks load and compile; after them nothing may be left behind.
  if (memory.length < 6) continue;
  const early = Math.max(...memory.slice(2, 5));
  const late = Math.min(...memory.slice(-3));
  const growth = (late - early) / MIB;
  console.log(
    `thread ${i}: ${(late / MIB).toFixed(1)} MiB after collection, ${growth.toFixed(2)} MiB more than at first`,
  );
  if (growth > MOST_GROWTH_MIB) failed = true;
}
if (!globalThis.gc) console.log('memory not measured: run node with --expose-gc');
console.log(`peak resident memory: ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
console.log(failed ? 'FAILED' : 'no crash, no hang, no growth, nothing damaged accepted');
for (const { worker } of threads) await worker.terminate();
process.exitCode = failed ? 1 : 0;
