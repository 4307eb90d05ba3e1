// The check of the WebGPU backend on a machine with a GPU: what there is, whether results are right, how fast it is. Every part is
// a process of its own with a time limit, so that none stops the others; records go to $OUT or ./out, a table comes last.
//
//   node main.mjs [--parts adapters,conformance,greedy,fusion,tuning,ladder,tiles,models,unchecked] [--models smollm2,1B,3B,8B] [--quick]
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = process.env.OUT ?? join(process.cwd(), 'out');
const RECORDS = join(OUT, 'webgpu.jsonl');

const option = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at === -1 ? undefined : process.argv[at + 1];
};
const quick = process.argv.includes('--quick');
const models = (option('models') ?? (quick ? 'smoke' : 'smollm2,1B,3B,8B')).split(',');
const record = (kind, values) => appendFileSync(RECORDS, `${JSON.stringify({ kind, ...values })}\n`);

/** Parts that run beside each other. */
const BESIDE = ['conformance', 'greedy', 'fusion'];

/** Seconds that a part may take. Conformance runs its variants beside each other. */
const LIMITS = {
  adapters: 5,
  conformance: 45,
  greedy: 45,
  fusion: 45,
  tuning: 10,
  ladder: 35,
  tiles: 10,
  models: 40,
  unchecked: 18,
};

function modelFiles() {
  const folder = join(HERE, 'models');
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

async function runPart(part, argument) {
  const limit = LIMITS[part] * (quick ? 10 : 1);
  switch (part) {
    case 'adapters': {
      const { describeAdapters } = await import('./open.mjs');
      for (const adapter of await describeAdapters()) {
        console.log(JSON.stringify(adapter));
        record('adapter', adapter);
      }
      return;
    }
    case 'conformance': {
      const { runConformance } = await import('./correctness.mjs');
      return runConformance(argument, record, { until: (limit - 4) * 1000, filter: option('filter') });
    }
    case 'greedy': {
      const { runGreedy } = await import('./correctness.mjs');
      return runGreedy(record, { files: modelFiles() });
    }
    case 'fusion': {
      const { checkFusion } = await import('./fusion.mjs');
      const { open } = await import('./open.mjs');
      for (const variant of [{}, { packedDot: false, subgroups: false, f16: false }]) {
        let error = null;
        try {
          await checkFusion((tuning) => open({ kv: 'f16', tuning, variant }));
        } catch (thrown) {
          error = thrown.message;
        }
        console.log(`fusion ${JSON.stringify(variant)}: ${error ?? 'every slot equal to the bit'}`);
        record('fusion', { variant, error });
      }
      return;
    }
    case 'tuning': {
      const { measureTuning } = await import('./tuning.mjs');
      return measureTuning(record, { quick });
    }
    case 'ladder': {
      const { runLadder } = await import('./ladder.mjs');
      return runLadder(record, { quick });
    }
    case 'tiles': {
      const { runTiles } = await import('./ladder.mjs');
      return runTiles(record, { quick });
    }
    case 'models': {
      const { runModels } = await import('./models.mjs');
      return runModels(record, { names: models, quick });
    }
    case 'unchecked': {
      const { runModels } = await import('./models.mjs');
      const features = ['skip_validation', 'disable_robustness'];
      return runModels(record, { names: models.slice(0, 2), quick, features, label: 'unchecked' });
    }
  }
}

function spawnPart(part, argument) {
  const limit = LIMITS[part] * (quick ? 10 : 1);
  const args = [fileURLToPath(import.meta.url), '--part', part, '--models', models.join(',')];
  if (argument) args.push('--argument', argument);
  if (quick) args.push('--quick');
  if (option('filter')) args.push('--filter', option('filter'));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    const keep = (chunk) => {
      text += chunk;
      // Parts that run beside each other would mix their lines.
      if (!BESIDE.includes(part)) process.stdout.write(chunk);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const timer = setTimeout(() => child.kill('SIGKILL'), limit * 1000);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (BESIDE.includes(part)) process.stdout.write(text);
      if (code !== 0) {
        console.log(
          `part ${part} ${argument ?? ''} ended with ${signal ?? code}${signal ? ` (limit ${limit} s)` : ''}`,
        );
        record('failure', { part, argument, code, signal, tail: text.slice(-2000) });
      }
      resolve();
    });
  });
}

function readRecords() {
  return existsSync(RECORDS)
    ? readFileSync(RECORDS, 'utf8')
        .trim()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    : [];
}

function printTable() {
  const records = readRecords();
  const of = (kind) => records.filter((one) => one.kind === kind);
  console.log('\n== results');
  const adapter = of('adapter').find(({ vendor }) => vendor);
  if (adapter)
    console.log(
      `${adapter.vendor} ${adapter.architecture} ${adapter.device}, ${adapter.description}; subgroups ${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize}; ` +
        `shader-f16 ${adapter.features.includes('shader-f16')}, packed dot ${adapter.languageFeatures.includes('packed_4x8_integer_dot_product')}`,
    );
  for (const one of of('conformance'))
    console.log(
      `conformance ${one.name.padEnd(12)} ${one.variant.padEnd(18)} ${one.passed}/${one.total}${one.left ? `, ${one.left} not run` : ''}`,
    );
  for (const one of of('greedy'))
    console.log(
      `greedy ${one.name} ${one.variant ?? ''}: ${one.error ?? (one.equal ? `${one.tokens} tokens equal` : `differs at ${one.first}`)}`,
    );
  for (const one of of('fusion'))
    console.log(`fusion ${JSON.stringify(one.variant)}: ${one.error ?? 'equal to the bit'}`);
  for (const { copy, read } of of('bandwidth').slice(0, 1))
    console.log(`copy ${copy.toFixed(0)} GB/s, read ${read.toFixed(0)} GB/s`);
  const ladder = new Map();
  for (const one of of('matvec')) {
    if (one.error) continue;
    const row = ladder.get(one.name) ?? [];
    row.push(`${one.shape.join('x')} ${one.microseconds.toFixed(1)}us ${(100 * one.share).toFixed(0)}%`);
    ladder.set(one.name, row);
  }
  for (const [name, cells] of ladder) console.log(`matvec ${name.padEnd(26)} ${cells.join('  ')}`);
  for (const one of of('matmul'))
    if (!one.error)
      console.log(
        `matmul ${one.name.padEnd(13)} ${one.shape.join('x')} by ${one.tokens}: ${one.teraops.toFixed(2)} Top/s`,
      );
  for (const one of of('model')) {
    if (one.error) {
      console.log(`model ${one.name}: ${one.error}`);
      continue;
    }
    const floor = one.bytes / one.read / 1e6;
    console.log(
      `model ${one.name.padEnd(8)} ${one.label.padEnd(9)} decode ${one.decode.toFixed(3)} ms, chained ${one.chained.toFixed(3)}, device ${one.device?.toFixed(3) ?? '-'}, ` +
        `floor ${floor.toFixed(3)} (${((100 * floor) / one.chained).toFixed(0)}%); prefill ${one.prompt} ${one.prefill.toFixed(1)} ms; ${one.dispatches} dispatches`,
    );
  }
  for (const one of of('failure'))
    console.log(`failed: ${one.part} ${one.argument ?? ''} (${one.signal ?? one.code})`);
}

mkdirSync(OUT, { recursive: true });
const part = option('part');
if (part) {
  await runPart(part, option('argument'));
  process.exit(0);
}
writeFileSync(RECORDS, '');
const parts = (
  option('parts') ?? 'adapters,conformance,greedy,fusion,tuning,ladder,tiles,models,unchecked'
).split(',');
const started = performance.now();
const begin = (name) => console.log(`\n== ${name} (${((performance.now() - started) / 1000).toFixed(0)} s)`);
if (parts.includes('adapters')) {
  begin('adapters');
  await spawnPart('adapters');
}
if (BESIDE.some((name) => parts.includes(name))) {
  begin('correctness');
  const { CONFORMANCE } = await import('./correctness.mjs');
  const variants = option('variants')?.split(',') ?? Object.keys(CONFORMANCE);
  await Promise.all([
    ...(parts.includes('conformance') ? variants.map((name) => spawnPart('conformance', name)) : []),
    ...['greedy', 'fusion'].flatMap((name) => (parts.includes(name) ? spawnPart(name) : [])),
  ]);
}
for (const name of ['tuning', 'ladder', 'tiles', 'models', 'unchecked'])
  if (parts.includes(name)) {
    begin(name);
    await spawnPart(name);
  }
printTable();
