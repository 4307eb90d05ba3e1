// How fast a container is validated beside how fast this machine hashes on one thread; both in one run, in turns, so that
// whatever else the machine does slows both. After `npm run build`:
//   node packages/format/bench/validate.mjs FILE.duo [ROUNDS]
import { createHash } from 'node:crypto';
import { cpus } from 'node:os';
import { validateContainer } from '../dist/index.js';
import { createFileSource } from '../dist/node.js';

const [path, rounds = '15'] = process.argv.slice(2);
if (path === undefined) {
  console.error('usage: node packages/format/bench/validate.mjs FILE.duo [ROUNDS]');
  process.exit(2);
}

const memory = new Uint8Array(16 * 2 ** 20).map((_, i) => (i * 2_654_435_761) >>> 24);

/** MB/s of SHA-256 over 64 MiB that are in memory, in calls of 16 MiB. */
function hashRate() {
  const started = performance.now();
  for (let i = 0; i < 4; i++) createHash('sha256').update(memory).digest();
  return (4 * memory.length) / 1e3 / (performance.now() - started);
}

/** MB/s of a validation of all data, from opening the file to closing it. */
async function validationRate() {
  const started = performance.now();
  const source = await createFileSource(path);
  const report = await validateContainer(source);
  await source.close();
  const elapsed = performance.now() - started;
  if (!report.ok) throw new Error(`${path} is not valid: ${report.problems[0].code}`);
  return source.size / 1e3 / elapsed;
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const rates = { hash: [], validation: [], ratio: [] };
for (let round = 0; round < Number(rounds); round++) {
  const before = hashRate();
  const validation = await validationRate();
  const hash = (before + hashRate()) / 2;
  rates.hash.push(hash);
  rates.validation.push(validation);
  rates.ratio.push(validation / hash);
}
const [hash, validation, ratio] = [rates.hash, rates.validation, rates.ratio].map(median);
console.log(`${cpus()[0].model}, Node ${process.version}, median of ${rounds} rounds`);
console.log(`SHA-256, one thread, in memory   ${hash.toFixed(0)} MB/s`);
console.log(
  `validate                         ${validation.toFixed(0)} MB/s; first, cold: ${rates.validation[0].toFixed(0)}`,
);
console.log(
  `ratio                            ${ratio.toFixed(2)}; first, cold: ${rates.ratio[0].toFixed(2)}`,
);
