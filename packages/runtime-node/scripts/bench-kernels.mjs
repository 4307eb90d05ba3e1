// Speed of the native kernels, one operation at a time, for each instruction set: W(1+1)A4 matrix-vector and matrix
// products, int8 head, f32 products. Shortest of many runs, as on a shared machine anything else measures the neighbours.
// Needs `npm run build`.
//
//   node scripts/bench-kernels.mjs [threads …]     default: 1
import { createRandom } from '@duobit/core';
import { packDense, packInt8, packW11 } from '@duobit/format';
import { createNativeBackend, nativeSupport } from '@duobit/runtime-node';

const SECONDS = 0.6;
const support = nativeSupport();
if (!support.available) {
  console.error(support.reason);
  process.exit(1);
}
const threads = process.argv.slice(2).map(Number);
const random = createRandom(1);

function drawBytes(count, limit) {
  return Uint8Array.from({ length: count }, () => random() * limit);
}

function makeW11(rows, columns) {
  const groupSize = 128;
  const levels = Float32Array.from(
    { length: rows * Math.ceil(columns / groupSize) * 2 },
    () => 0.01 + random(),
  );
  const planes = packW11({
    rows,
    columns,
    groupSize,
    sign: drawBytes(rows * columns, 2),
    bitmap: drawBytes(rows * columns, 2),
    alpha: levels,
    mu: levels,
  });
  return { planes, encoding: { kind: 'w11', groupSize, offsets: true } };
}

function makeInt8(rows, columns) {
  const groupSize = 64;
  const codes = Int8Array.from({ length: rows * columns }, () => random() * 254 - 127);
  const scale = new Float32Array((rows * columns) / groupSize).fill(0.5);
  return {
    planes: packInt8({ rows, columns, groupSize, codes, scale }),
    encoding: { kind: 'int8', groupSize },
  };
}

function makeF32(rows, columns) {
  const values = Float32Array.from({ length: rows * columns }, () => random() - 0.5);
  return { planes: packDense(values, 'f32'), encoding: { kind: 'f32' } };
}

/** Shortest seconds of one run of a product. */
async function time(backend, op, kind, made, rows, columns, count) {
  const slots = { x: { kind, width: columns }, y: { kind: 'f32', width: rows } };
  const plan = {
    slots,
    operations: [{ op, input: 'x', weight: 'w', out: 'y' }],
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array(1),
  };
  const data = {
    info: { name: 'w', shape: [rows, columns], encoding: made.encoding, activation: null },
    planes: made.planes,
  };
  const program = await backend.prepare(plan, async () => data, { capacity: count, maxRows: count });
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * SECONDS;
  while (performance.now() < end) {
    const start = performance.now();
    await program.run({ rows: count, position: 0, logits: 'none' });
    best = Math.min(best, performance.now() - start);
  }
  await program.dispose();
  return best / 1000;
}

const w11 = [
  [1024, 1024],
  [4096, 4096],
  [1536, 576],
].map((shape) => [shape, makeW11(...shape)]);
const head = [[8192, 576], makeInt8(8192, 576)];
const dense = [[1536, 576], makeF32(1536, 576)];
for (const count of threads.length > 0 ? threads : [1])
  for (const isa of support.instructionSets) {
    const backend = await createNativeBackend({ isa, threads: count });
    const show = (what, seconds, work, unit) =>
      console.log(
        `${isa.padEnd(7)} ${count} threads  ${what.padEnd(34)} ${(work / seconds / 1e9).toFixed(1).padStart(7)} ${unit}`,
      );
    for (const [[rows, columns], made] of w11)
      for (const tokens of [1, 2, 3, 64])
        show(
          `W(1+1)A4 ${rows} x ${columns}, ${tokens} rows`,
          await time(backend, 'w11MatMul', 'a4', made, rows, columns, tokens),
          rows * columns * tokens,
          'G weights/s',
        );
    for (const tokens of [1, 64]) {
      const [[rows, columns], made] = head;
      const seconds = await time(backend, 'denseMatMul', 'f32', made, rows, columns, tokens);
      show(`int8 ${rows} x ${columns}, ${tokens} rows`, seconds, rows * columns * tokens, 'G weights/s');
    }
    for (const tokens of [1, 64]) {
      const [[rows, columns], made] = dense;
      const seconds = await time(backend, 'denseMatMul', 'f32', made, rows, columns, tokens);
      show(`f32 ${rows} x ${columns}, ${tokens} rows`, seconds, 2 * rows * columns * tokens, 'GFLOP/s');
    }
    await backend.dispose();
  }
