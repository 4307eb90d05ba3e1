// The ladder of W(1+1)A4 matvec kernels in WebAssembly, all on one random matrix: each result is compared with a plain
// double-precision product, then all are timed in turn, round after round, so that a busy machine slows all alike.
// node experiments/kernels/w11-matvec-wasm/bench.mjs [rows] [columns] [rounds]
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from '../../../packages/core/scripts/build-kernels.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const CORE = join(HERE, '../../../packages/core');
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
};

/** The ladder's common signature over the kernel of the backend, which takes tables and (lo, step) only. */
function adaptBackend({ w11MatMul }, memory, paramsAt, scratchAt) {
  new Float32Array(memory.buffer, paramsAt, 2).set([lo, step]);
  return (weights, sums, tables, _codes, _sums, out) =>
    w11MatMul(weights, sums, tables, 0, paramsAt, scratchAt, out, 0, 1, N, 0, N / 16, GROUPS, G / 16, G / 16);
}

async function prepare(file) {
  const memory = new WebAssembly.Memory({ initial: 64 + Math.ceil((N * K) / 65536) });
  const backend = file === 'backend';
  const bytes = backend ? await compile('assembly/index.ts', CORE) : await compile(`assembly/${file}`, HERE);
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  const all = new Uint8Array(memory.buffer);
  const [rowSumsAt, tablesAt, codesAt, sumsAt, outAt, weightsAt] = [1, 2, 4, 5, 6, 8].map((i) => i * 131072);
  new Float32Array(memory.buffer, rowSumsAt, N).set(rowSums);
  all.set(codes, codesAt);
  for (let k = 0; k < K; k += 4)
    for (let e = 0; e < 16; e++)
      for (let j = 0; j < 4; j++) if ((e >> j) & 1) all[tablesAt + k * 4 + e] += codes[k + j];
  const sums = new Uint16Array(memory.buffer, sumsAt, GROUPS);
  for (let k = 0; k < K; k++) sums[Math.floor(k / G)] += codes[k];
  const size = PACKERS[backend ? 'v5' : file.slice(0, 2)](all.subarray(weightsAt));
  const matvec = backend ? adaptBackend(instance.exports, memory, 64, 1024) : instance.exports.matvec;
  const run = () => matvec(weightsAt, rowSumsAt, tablesAt, codesAt, sumsAt, outAt, N, K, GROUPS, G, lo, step);
  run();
  const out = new Float32Array(memory.buffer, outAt, N);
  // 2^-24 for each of the roundings on the way: 4 a group, the coefficients, the last line.
  const bound = (4 * GROUPS + 16) * 2 ** -24;
  for (let n = 0; n < N; n++)
    if (!(Math.abs(out[n] - exact[n]) <= bound * 3 * absolute[n]))
      throw new Error(`${file}: row ${n} is ${out[n]}, exact ${exact[n]}`);
  return { name: file.replace('.ts', ''), run, size, rates: [] };
}

const kernels = [];
for (const file of readdirSync(join(HERE, 'assembly'))
  .filter((name) => /^v\d.*\.ts$/.test(name))
  .sort())
  kernels.push(await prepare(file));
kernels.push(await prepare('backend'));
for (let round = -2; round < ROUNDS; round++)
  for (const { run, rates } of kernels) {
    const start = performance.now();
    let calls = 0;
    let spent = 0;
    do {
      run();
      calls++;
      spent = performance.now() - start;
    } while (spent < 60);
    if (round >= 0) rates.push((calls * N * K) / spent / 1e6);
  }

console.log(
  `${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}; ${N} x ${K}, group ${G}, one thread`,
);
console.log('kernel              G weights/s  median   best   GB/s at best');
for (const { name, rates, size } of kernels) {
  rates.sort((a, b) => a - b);
  const best = rates[rates.length - 1];
  const median = rates[rates.length >> 1];
  const bandwidth = (best / (N * K)) * size;
  console.log(
    `${name.padEnd(30)} ${median.toFixed(2).padStart(8)} ${best.toFixed(2).padStart(6)} ${bandwidth.toFixed(2).padStart(6)}`,
  );
}
