// Times the dense linear algebra of the quantizer on one thread, beside plain JavaScript loops at the smallest size:
//   node packages/quantizer/scripts/bench-linalg.mjs [size ...]        (default 576 1536 4096)
// Prints the table of docs/results/linalg.md. Each time is the best of a few runs of the two in turn, copies to and from
// the module's memory included.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundleSource } from '../../../scripts/bundle-source.mjs';
import { plainInverseCholesky, plainSubtractProduct } from './plain-linalg.mjs';

const SOURCE = join(dirname(fileURLToPath(import.meta.url)), '../src/linalg/index.ts');
const BLOCK = 128;
const GROUP = 128;
/** Right-hand sides of a system. */
const SOLVED = 256;
/** Plain loops run up to this size. */
const PLAIN_SIZE = 600;

const folder = mkdtempSync(join(tmpdir(), 'duobit-linalg-'));
const linalg = await import(pathToFileURL(await bundleSource(SOURCE, folder)).href);
rmSync(folder, { recursive: true });
const space = await linalg.Workspace.create();

/** A 32-bit xorshift, uniform in [-1, 1). */
function createNoise() {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2 ** 31;
  };
}
const noise = createNoise();
const drawFloats = (count) => Float32Array.from({ length: count }, noise);

/** Symmetric, and dominated by its diagonal: definite at any size without a product to make it. */
function makeHessian(n) {
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) h[i * n + j] = h[j * n + i] = noise();
    h[i * n + i] = n * (1 + 0.5 * noise());
  }
  return h;
}

/** Best seconds of each of `runs` over `rounds`, in turn; `prepare` is not timed. */
function race(rounds, runs) {
  const best = runs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++)
    runs.forEach(({ prepare, run }, i) => {
      const argument = prepare();
      const start = performance.now();
      run(argument);
      best[i] = Math.min(best[i], (performance.now() - start) / 1000);
    });
  return best;
}

function print(name, size, seconds, operations) {
  const rate = operations ? (operations / seconds / 1e9).toFixed(2) : '';
  console.log(`| ${name} | ${size} | ${seconds.toPrecision(3)} | ${rate} |`);
}

function benchInverse(n) {
  const h = makeHessian(n);
  const runs = [
    { prepare: () => h.slice(), run: (a) => linalg.inverseCholesky(space, a, n, { damping: 0.01 }) },
  ];
  if (n <= PLAIN_SIZE) runs.push({ prepare: () => h.slice(), run: (a) => plainInverseCholesky(a, n) });
  const [ours, plain] = race(n > 2048 ? 2 : 5, runs);
  print('inverseCholesky', n, ours, (2 / 3) * n ** 3);
  if (plain) print('… in plain JavaScript', n, plain, (2 / 3) * n ** 3);
}

function benchSolve(n) {
  const [h, b] = [makeHessian(n), drawFloats(SOLVED * n)];
  const run = (x) => linalg.solveSymmetric(space, h, n, x, SOLVED);
  const [seconds] = race(n > 2048 ? 2 : 5, [{ prepare: () => b.slice(), run }]);
  print(`solveSymmetric, ${SOLVED} right-hand sides`, n, seconds, n ** 3 / 3 + 2 * SOLVED * n * n);
}

function benchProduct(n) {
  const a = drawFloats(n * BLOCK);
  const b = drawFloats(BLOCK * n);
  const c = drawFloats(n * n);
  const prepare = () => c.slice();
  const runs = [
    {
      prepare,
      run: (values) => linalg.subtractProduct(space, { values }, { values: a }, { values: b }, n, n, BLOCK),
    },
  ];
  if (n <= PLAIN_SIZE)
    runs.push({ prepare, run: (values) => plainSubtractProduct(values, a, b, n, n, BLOCK) });
  const [ours, plain] = race(5, runs);
  print(`subtractProduct, depth ${BLOCK}`, `${n} x ${n}`, ours, 2 * n * n * BLOCK);
  if (plain) print('… in plain JavaScript', `${n} x ${n}`, plain, 2 * n * n * BLOCK);
}

function benchBlock(n) {
  const weights = { values: drawFloats(n * BLOCK) };
  const u = makeHessian(BLOCK).map((value) => value / BLOCK);
  const levels = drawFloats(n * 4);
  for (let row = 0; row < n; row++) levels.subarray(row * 4, row * 4 + 4).sort();
  const run = () => linalg.errorInBlock(space, weights, { values: u }, levels, n, BLOCK);
  const [seconds] = race(5, [{ prepare: () => null, run }]);
  print('errorInBlock', `${n} x ${BLOCK}`, seconds, n * BLOCK * BLOCK);
}

/** Rows as GPTQ would leave them: codes at the nearest level. */
function makeRows(n, rows) {
  const groups = Math.ceil(n / GROUP);
  const levels = new Float32Array(rows * groups * 4);
  for (let i = 0; i < levels.length; i++) levels[i] = ((i % 4) - 1.5) / 2;
  const weights = drawFloats(rows * n);
  const codes = Uint8Array.from(weights, (w) => Math.min(3, Math.max(0, Math.round(2 * w + 1.5))));
  const hessian = Float32Array.from(makeHessian(n), (value, i) => (i % (n + 1) === 0 ? value / 8 : value));
  return { hessian, weights, codes, levels, rows, columns: n, groupSize: GROUP };
}

function benchRows(n) {
  const given = makeRows(n, 256);
  let changes = 0;
  const prepare = () => ({ ...given, codes: given.codes.slice() });
  const [descent] = race(3, [{ prepare, run: (rows) => (changes = linalg.descend(space, rows)) }]);
  const share = (changes / given.codes.length).toFixed(3);
  print(`descend, ${share} of the codes changed`, `256 x ${n}`, descent, 2 * 256 * n * n + 2 * changes * n);
  const few = {
    ...given,
    rows: 16,
    weights: given.weights.slice(0, 16 * n),
    codes: given.codes.slice(0, 16 * n),
  };
  few.levels = given.levels.slice(0, given.levels.length / 16);
  const refit = () => ({ ...few, levels: few.levels.slice() });
  const [seconds] = race(3, [{ prepare: refit, run: (rows) => linalg.refitLevels(space, rows) }]);
  print('refitLevels, one row', n, seconds / 16, 0);
}

console.log(`${cpus()[0].model}, Node ${process.version}, one thread\n`);
console.log('| operation | size | seconds | GFLOP/s |\n| --- | --- | ---: | ---: |');
const sizes = process.argv.slice(2).map(Number);
for (const n of sizes.length > 0 ? sizes : [576, 1536, 4096]) {
  benchInverse(n);
  benchSolve(n);
  benchProduct(n);
  benchBlock(n);
  benchRows(n);
}
