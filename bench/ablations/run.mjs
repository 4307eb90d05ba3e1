// `node bench/ablations/run.mjs [--rows a,b] [--tokens n] [--passes n] [--seed n] [--threads n]`, after `npm run build`: trains one
// row after the other on TinyStories-656K, keeps a record of each in docs/results/records/ablations and makes
// docs/results/ablations.md anew. With --page it makes the page alone.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readArguments } from '../arguments.mjs';
import { MODELS, whatIsMissing } from '../quality/models.mjs';
import { measure, measureFull } from './measure.mjs';
import { RECORDS, writeAblations } from './page.mjs';
import { ROWS } from './rows.mjs';

const values = readArguments(
  {
    rows: { type: 'string' },
    tokens: { type: 'string', default: '150000' },
    passes: { type: 'string', default: '4' },
    seed: { type: 'string', default: '0' },
    threads: { type: 'string', default: '1' },
    page: { type: 'boolean', default: false },
  },
  import.meta.url,
);
if (values.page) {
  writeAblations();
  process.exit(0);
}
const model = MODELS.tinystories;
const missing = whatIsMissing(model);
if (missing) {
  console.log(`skipped: ${missing} is not here (bench/README.md says where it comes from)`);
  process.exit(0);
}
const known = ['full', ...ROWS.map(({ id }) => id)];
const wanted = values.rows?.split(',') ?? known;
const unknown = wanted.find((id) => !known.includes(id));
if (unknown) throw new Error(`no row ${unknown}; there are ${known.join(', ')}`);
const options = {
  tokens: Number(values.tokens),
  passes: Number(values.passes),
  seed: Number(values.seed),
  threads: Number(values.threads),
  log: (line) => console.error(line),
};
mkdirSync(RECORDS, { recursive: true });
const keep = (record) => {
  const { row, seconds, perplexity } = record;
  console.log(`${row}: ${JSON.stringify(perplexity)}${seconds ? `, ${seconds.toFixed(0)} s` : ''}`);
  writeFileSync(path.join(RECORDS, `${row}.json`), `${JSON.stringify(record, null, 1)}\n`);
};
if (wanted.includes('full')) keep(await measureFull(model, options));
for (const row of ROWS.filter(({ id }) => wanted.includes(id))) keep(await measure(model, row, options));
writeAblations();
process.exit(0);
