// `npm run results -- --model tinystories|smollm2 [--methods a,b] [--windows n] [--limit n]`: measures methods one after the
// other, keeps a record of each in docs/results/records/quality and makes docs/results/quality.md anew. With --check it
// measures TinyStories again and compares with the records.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createBackend } from '@duobit/runtime-node';
import { readArguments } from '../arguments.mjs';
import { measure } from './measure.mjs';
import { METHODS } from './methods.mjs';
import { MODELS, whatIsMissing } from './models.mjs';
import { RECORDS, writeQualityPage } from './page.mjs';

/** The same backend and instruction set give the same bits; others round differently, which codes amplify. */
const TOLERANCE = { same: 1e-9, other: 0.05 };
/** What --check measures. */
const CHECKED = METHODS.filter(({ group }) => ['full', 'baseline', 'ours'].includes(group)).map(
  ({ id }) => id,
);

const values = readArguments(
  {
    model: { type: 'string', default: 'tinystories' },
    methods: { type: 'string' },
    windows: { type: 'string' },
    limit: { type: 'string' },
    threads: { type: 'string' },
    check: { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
  },
  import.meta.url,
);

if (values.page) {
  writeQualityPage();
  process.exit(0);
}
const model = MODELS[values.model];
if (!model) throw new Error(`no model ${values.model}; there are ${Object.keys(MODELS).join(', ')}`);
const missing = whatIsMissing(model);
if (missing) {
  console.log(`skipped: ${missing} is not here (bench/README.md says where it comes from)`);
  process.exit(0);
}
const wanted = values.methods?.split(',') ?? (values.check ? CHECKED : METHODS.map(({ id }) => id));
const unknown = wanted.find((id) => !METHODS.some((entry) => entry.id === id));
if (unknown) throw new Error(`no method ${unknown}; there are ${METHODS.map(({ id }) => id).join(', ')}`);

const backend = await createBackend('auto', {
  kv: 'f32',
  ...(values.threads ? { threads: Number(values.threads) } : {}),
  onNotice: (line) => console.error(line),
});
const failures = [];
let shown = 0;
const log = (line) => {
  if (Date.now() - shown < 10_000) return;
  shown = Date.now();
  console.error(line);
};
for (const entry of METHODS.filter(({ id }) => wanted.includes(id))) {
  const record = await measure(model, entry, {
    backend,
    windows: values.windows && Number(values.windows),
    limit: values.limit && Number(values.limit),
    log,
  });
  const found = Object.entries(record.perplexity)
    .filter(([key]) => key !== 'tokens')
    .map(([key, value]) => `${key} ${value.toFixed(2)}`);
  console.log(`${entry.id}: ${found.join(', ')}${record.seconds ? `, ${record.seconds.toFixed(1)} s` : ''}`);
  const file = path.join(RECORDS, `${values.model}-${entry.id}.json`);
  if (values.check) failures.push(...compare(record, JSON.parse(readFileSync(file, 'utf8'))));
  else {
    mkdirSync(RECORDS, { recursive: true });
    writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
  }
}
await backend.dispose();
if (values.check) {
  for (const failure of failures) console.error(failure);
  console.log(
    failures.length === 0 ? 'all results agree with their records' : `${failures.length} results differ`,
  );
  process.exitCode = failures.length === 0 ? 0 : 1;
} else writeQualityPage();

function compare(found, kept) {
  const tolerance = found.backend === kept.backend ? TOLERANCE.same : TOLERANCE.other;
  const differences = [];
  for (const key of ['model_sha256', 'linear_weights', 'linear_bytes'])
    if (found[key] !== kept[key])
      differences.push(`${found.method}: ${key} is ${found[key]}, was ${kept[key]}`);
  for (const [key, value] of Object.entries(kept.perplexity))
    if (!(Math.abs(found.perplexity[key] / value - 1) <= tolerance))
      differences.push(
        `${found.method}: ${key} is ${found.perplexity[key]}, was ${value}, allowed ${tolerance}`,
      );
  return differences;
}
