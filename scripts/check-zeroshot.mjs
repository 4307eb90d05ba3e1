// Compares multiple choice on the real data sets with what scripts/golden/zero_shot.py computed with PyTorch: the
// log-likelihood of every choice, and the answers. Needs `npm run build`, and data that is not in the repository; without it
// the check is skipped, or fails with --require.
//
//   node scripts/check-zeroshot.mjs --golden out/zeroshot.json --model <path> --data <folder> [--data <folder>] [--require]
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

/** Nats, of a sum: float32 on both sides. */
const LIMIT = 1e-3;

const { values: flags } = parseArgs({
  options: {
    golden: { type: 'string' },
    model: { type: 'string' },
    data: { type: 'string', multiple: true, default: [] },
    require: { type: 'boolean', default: false },
  },
});
const needed = [flags.golden, flags.model, ...flags.data];
const absent = needed.filter((file) => file === undefined || !existsSync(file));
if (absent.length > 0 || flags.data.length === 0) {
  console.log(
    `skipped: needs --golden, --model and --data that exist; missing: ${absent.join(', ') || '--data'}`,
  );
  process.exit(flags.require ? 1 : 0);
}

const entry = (name) => new URL(`../packages/${name}/dist/index.js`, import.meta.url);
const { createModel, createWasmBackend } = await import(entry('core'));
const { createScorer, openCheckpoint, parseTask, TASKS } = await import(entry('quantizer'));

// Keys and values in f32, as PyTorch has them.
const backend = await createWasmBackend({ threads: 2 });
const checkpoint = await openCheckpoint(flags.model);
const model = await createModel(checkpoint, backend);
const score = createScorer(model);
const largest = (values) => values.indexOf(Math.max(...values));

let failed = false;
for (const { task, sha256, logLikelihoods } of JSON.parse(readFileSync(flags.golden, 'utf8')).tasks) {
  const file = flags.data
    .map((folder) => path.join(folder, TASKS[task].file))
    .find((name) => existsSync(name));
  if (file === undefined) {
    console.log(`skip ${task}: no ${TASKS[task].file}`);
    failed ||= flags.require;
    continue;
  }
  const bytes = readFileSync(file);
  if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
    console.log(`FAIL ${task}: ${file} is not the file that the golden was made from`);
    failed = true;
    continue;
  }
  const questions = parseTask(task, bytes.toString('utf8'), file);
  let worst = 0;
  let different = 0;
  for (const [index, expected] of logLikelihoods.entries()) {
    const found = [];
    for (const choice of questions[index].choices) found.push((await score(choice)).logLikelihood);
    worst = Math.max(worst, ...expected.map((sum, i) => Math.abs(sum - found[i])));
    if (largest(expected) !== largest(found)) different += 1;
  }
  const ok = worst < LIMIT && different === 0;
  failed ||= !ok;
  console.log(
    `${ok ? 'ok  ' : 'FAIL'} ${task}: ${logLikelihoods.length} questions, log-likelihoods differ by at most ` +
      `${worst.toExponential(2)} (limit ${LIMIT}), ${different} other answers`,
  );
}
await model.dispose();
await backend.dispose();
await checkpoint.close();
process.exit(failed ? 1 : 0);
