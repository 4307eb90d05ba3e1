// The ladder of W(1+1)A4 matvec kernels in WebAssembly, all on one random matrix: each result is compared with a plain
// double-precision product, then all are timed in turn, round after round, so that a busy machine slows all alike. The last
// ones also with relaxed SIMD where the engine has it, and the backend's on 32 rows of activations.
// node experiments/kernels/w11-matvec-wasm/bench.mjs [rows] [columns] [rounds]
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, compileKernels, RELAXED } from '../../../packages/core/scripts/build-kernels.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const [N = 4096, K = 4096, ROUNDS = 15] = process.argv.slice(2).map(Number);
const G = 128;
const GROUPS = K / G;

let state = 0x9e3779b9;
function noise() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 8;
}

// The matrix: bits by plane, levels mu0, alpha0, mu1, alpha1 (f16 bits and values) a row and group.
const sign = Uint8Array.from({ length: (N * K) / 8 }, noise);
const bitmap = Uint8Array.from({ length: (N * K) / 8 }, noise);
const levelBits = Uint16Array.from({ length: N * GROUPS * 4 }, () => 0x2800 | (noise() & 0x87ff));
const levels = Float32Array.from(levelBits, (h) => {
  const size = (1 + (h & 1023) / 1024) * 2 ** (((h >> 10) & 31) - 15);
  return h & 0x8000 ? -size : size;
});
const codes = Uint8Array.from({ length: K }, () => noise() & 15);
const [lo, step] = [-0.75, 0.125];

const rowSums = new Float32Array(N);
const exact = new Float64Array(N);
const absolute = new Float64Array(N);
for (let n = 0; n < N; n++) {
  let sum = 0;
  for (let k = 0; k < K; k++) {
    const at = (n * K + k) >> 3;
    const s = (sign[at] >> (k & 7)) & 1;
    const m = (bitmap[at] >> (k & 7)) & 1;
    const l = (n * GROUPS + Math.floor(k / G)) * 4 + 2 * m;
    const w = levels[l] + levels[l + 1] * (2 * s - 1);
    sum += w;
    exact[n] += w * (lo + step * codes[k]);
    absolute[n] += (Math.abs(levels[l]) + Math.abs(levels[l + 1])) * (Math.abs(lo) + step * codes[k]);
  }
  rowSums[n] = sum;
}

/** v1, v2: the planes, then f32 levels. */
function packPlanes(bytes) {
  bytes.set(sign, 0);
  bytes.set(bitmap, sign.length);
  bytes.set(new Uint8Array(levels.buffer), 2 * sign.length);
  return 2 * sign.length + levels.byteLength;
}

/** Tiles of 16 rows; `head` writes a row's levels and returns their size; `lane` is the byte of row r; then the bits. */
function packTiles(bytes, lane, head, joint) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  for (let n = 0; n < N; n += 16)
    for (let g = 0; g < GROUPS; g++) {
      let size = 0;
      for (let r = 0; r < 16; r++) size = head(view, at, r, ((n + r) * GROUPS + g) * 4);
      at += size;
      for (let r = 0; r < 16; r++)
        for (let i = 0; i < G / 8; i++) {
          const s = sign[((n + r) * K + g * G) / 8 + i];
          const m = bitmap[((n + r) * K + g * G) / 8 + i];
          bytes[at + i * 32 + lane(r)] = joint ? (s & 15) | ((m & 15) << 4) : s;
          bytes[at + i * 32 + 16 + lane(r)] = joint ? (s >> 4) | (m & 0xf0) : m;
        }
      at += G * 4;
    }
  return at;
}
const straight = (r) => r;
const paired = (r) => (r < 8 ? 2 * r : 2 * r - 15);
function headF32(view, at, r, l) {
  const [mu0, alpha0, mu1, alpha1] = levels.subarray(l, l + 4);
  const c = [mu0 - alpha0, 2 * alpha0, mu1 - alpha1 - (mu0 - alpha0), 2 * (alpha1 - alpha0)];
  for (let i = 0; i < 4; i++) view.setFloat32(at + i * 64 + r * 4, c[i], true);
  return 256;
}
function headF16(view, at, r, l) {
  for (let i = 0; i < 4; i++) view.setUint16(at + i * 32 + r * 2, levelBits[l + i], true);
  return 128;
}
const PACKERS = {
  v1: packPlanes,
  v2: packPlanes,
  v3: (bytes) => packTiles(bytes, straight, headF32, false),
  v4: (bytes) => packTiles(bytes, paired, headF32, true),
  v5: (bytes) => packTiles(bytes, paired, headF16, true),
  v6: (bytes) => packTiles(bytes, paired, headF16, true),
  v7: (bytes) => packTiles(bytes, paired, headF16, true),
};

/** Lays out one matrix and `rows` rows of activations, all the same, and checks the product before it is timed. */
function lay(name, memory, pack, rows, bind) {
  let top = 65536;
  const take = (bytes) => {
    const at = top;
    top = (at + bytes + 63) & ~63;
    return at;
  };
  const at = {
    rowSums: take(N * 4),
    tables: take(rows * K * 4),
    codes: take(K),
    sums: take(GROUPS * 2),
    sums32: take((rows * K) / 16),
    params: take(rows * 8),
    scratch: take(32768),
    out: take(rows * N * 4),
    weights: take((N * K * 3) / 8),
  };
  memory.grow(Math.ceil(top / 65536));
  const all = new Uint8Array(memory.buffer);
  new Float32Array(memory.buffer, at.rowSums, N).set(rowSums);
  all.set(codes, at.codes);
  const sums = new Uint16Array(memory.buffer, at.sums, GROUPS);
  for (let k = 0; k < K; k++) sums[Math.floor(k / G)] += codes[k];
  for (let row = 0; row < rows; row++) {
    const tables = at.tables + row * K * 4;
    for (let k = 0; k < K; k += 4)
      for (let e = 0; e < 16; e++)
        for (let j = 0; j < 4; j++) if ((e >> j) & 1) all[tables + k * 4 + e] += codes[k + j];
    const sums32 = new Uint16Array(memory.buffer, at.sums32 + (row * K) / 16, K / 32);
    for (let k = 0; k < K; k++) sums32[k >> 5] += codes[k];
    new Float32Array(memory.buffer, at.params + row * 8, 2).set([lo, step]);
  }
  const size = pack(all.subarray(at.weights));
  const run = bind(at);
  run();
  const out = new Float32Array(memory.buffer, at.out, rows * N);
  // 2^-24 for each of the roundings on the way: 4 a group, the coefficients, the last line.
  const bound = (4 * GROUPS + 16) * 2 ** -24;
  out.forEach((value, i) => {
    const n = i % N;
    if (!(Math.abs(value - exact[n]) <= bound * 3 * absolute[n]))
      throw new Error(`${name}: row ${n} is ${value}, exact ${exact[n]}`);
  });
  return { name, run, rows, size, rates: [] };
}

async function prepareRung(file, flags) {
  const memory = new WebAssembly.Memory({ initial: 0 });
  const bytes = await compile(`assembly/${file}`, HERE, flags);
  if (!WebAssembly.validate(bytes)) return [];
  const { matvec } = (await WebAssembly.instantiate(bytes, { env: { memory } })).instance.exports;
  const name = file.replace('.ts', '') + (flags.length > 0 ? ', relaxed' : '');
  return lay(
    name,
    memory,
    PACKERS[file.slice(0, 2)],
    1,
    (at) => () =>
      matvec(at.weights, at.rowSums, at.tables, at.codes, at.sums, at.out, N, K, GROUPS, G, lo, step),
  );
}

async function prepareBackend(relaxed, rows) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const bytes = await compileKernels({ relaxed });
  if (!WebAssembly.validate(bytes)) return [];
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory, wait: () => 0 } });
  const { w11MatMul } = instance.exports;
  const name = `backend${relaxed ? ', relaxed' : ''}${rows > 1 ? `, ${rows} rows` : ''}`;
  const units = G / 16;
  return lay(
    name,
    memory,
    PACKERS.v5,
    rows,
    (at) => () =>
      w11MatMul(
        at.weights,
        at.rowSums,
        at.tables,
        K * 4,
        at.sums32,
        K / 16,
        at.params,
        at.scratch,
        at.out,
        N * 4,
        rows,
        N,
        0,
        N / 16,
        GROUPS,
        units,
        units,
      ),
  );
}

const kernels = [];
for (const file of readdirSync(join(HERE, 'assembly'))
  .filter((name) => /^v\d.*\.ts$/.test(name))
  .sort())
  kernels.push(await prepareRung(file, []));
kernels.push(await prepareRung('v7-loop.ts', RELAXED));
for (const rows of [1, 32])
  for (const relaxed of [false, true]) kernels.push(await prepareBackend(relaxed, rows));
const timed = kernels.flat();
for (let round = -2; round < ROUNDS; round++)
  for (const { run, rows, rates } of timed) {
    const start = performance.now();
    let calls = 0;
    let spent = 0;
    do {
      run();
      calls++;
      spent = performance.now() - start;
    } while (spent < 60);
    if (round >= 0) rates.push((calls * rows * N * K) / spent / 1e6);
  }

console.log(
  `${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}; ${N} x ${K}, group ${G}, one thread`,
);
console.log('kernel              G weights/s  median   best   GB/s at best');
for (const { name, rows, rates, size } of timed) {
  rates.sort((a, b) => a - b);
  const best = rates[rates.length - 1];
  const median = rates[rates.length >> 1];
  const bandwidth = (best / (rows * N * K)) * size;
  console.log(
    `${name.padEnd(30)} ${median.toFixed(2).padStart(8)} ${best.toFixed(2).padStart(6)} ${bandwidth.toFixed(2).padStart(6)}`,
  );
}
