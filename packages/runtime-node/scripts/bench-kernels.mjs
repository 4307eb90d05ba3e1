// Speed of the native kernels, one operation at a time on one thread, for each instruction set that the machine has:
// W(1+1)A4 and integer products by one row and by 64, and f32 products. Shortest of many runs, as on a shared machine
// anything else measures the neighbours. Weights and codes are random bits: speed does not depend on them.
// Needs `npm run build`. bench/kernels.mjs makes docs/results/kernels.md of what this measures.
//
//   node scripts/bench-kernels.mjs [--json] [--seconds <of each>] [--isa <name>]
import { randomFillSync } from 'node:crypto';
import { parseArgs } from 'node:util';
import { encodedPlaneLengths } from '@duobit/format';
import { createNativeBackend, nativeSupport } from '@duobit/runtime-node';

/** A run has about this many products, so that the call from JavaScript is no part of the figure. */
const PRODUCTS = 2 ** 24;
const ROWS = [1, 64];

/** Weights and levels of it fit the first two caches; what it reaches counts as the kernel's peak. */
const PEAK_SHAPE = [256, 512];
const MODELS = {
  'in cache': [PEAK_SHAPE],
  'SmolLM2-135M': [
    [576, 576],
    [192, 576],
    [1536, 576],
    [576, 1536],
  ],
  '1B': [
    [2048, 2048],
    [512, 2048],
    [8192, 2048],
    [2048, 8192],
  ],
  '3B': [
    [3072, 3072],
    [1024, 3072],
    [8192, 3072],
    [3072, 8192],
  ],
  square: [[4096, 4096]],
};
const DENSE = { 'SmolLM2-135M': [[1536, 576]], '1B': [[2048, 2048]] };

/** `work` is the operations that a weight counts for: one, or two for what is given in FLOP. */
const KERNELS = [
  {
    kernel: 'W(1+1)A4',
    encoding: { kind: 'w11', groupSize: 128, offsets: true },
    input: 'a4',
    models: MODELS,
  },
  {
    kernel: 'int8',
    encoding: { kind: 'int8', groupSize: 64 },
    input: 'f32',
    models: { 'in cache': [PEAK_SHAPE], ...DENSE },
  },
  {
    kernel: 'int4',
    encoding: { kind: 'int4', groupSize: 32 },
    input: 'f32',
    models: { 'in cache': [PEAK_SHAPE], ...DENSE },
  },
  {
    kernel: 'f32',
    encoding: { kind: 'f32' },
    input: 'f32',
    models: { 'in cache': [[64, 256]], ...DENSE },
    work: 2,
  },
];

function drawPlanes(encoding, shape) {
  const draw = {
    // -128 and, in 4 bits, -8 are no codes: the lowest bit of each code is set.
    codes: (length) =>
      randomFillSync(new Uint8Array(length)).map((byte) => byte | (encoding.kind === 'int8' ? 1 : 0x11)),
    dense: (length) => new Uint8Array(new Float32Array(length / 4).map(() => Math.random() - 0.5).buffer),
    // f16 1/16 for every level and scale.
    default: (length) => new Uint8Array(new Uint16Array(length / 2).fill(0x2c00).buffer),
    sign: (length) => randomFillSync(new Uint8Array(length)),
    bitmap: (length) => randomFillSync(new Uint8Array(length)),
  };
  const lengths = Object.entries(encodedPlaneLengths(encoding, shape));
  return Object.fromEntries(lengths.map(([role, length]) => [role, (draw[role] ?? draw.default)(length)]));
}

/** Shortest seconds of one product by `rows` rows. */
async function time(backend, { encoding, input }, shape, rows, seconds) {
  const [height, width] = shape;
  const repeats = Math.max(1, Math.round(PRODUCTS / (height * width * rows)));
  const op = encoding.kind === 'w11' ? 'w11MatMul' : 'denseMatMul';
  const plan = {
    slots: { x: { kind: input, width }, y: { kind: 'f32', width: height } },
    operations: Array.from({ length: repeats }, () => ({ op, input: 'x', weight: 'w', out: 'y' })),
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array(1),
  };
  const data = {
    info: { name: 'w', shape, encoding, activation: null },
    planes: drawPlanes(encoding, shape),
  };
  const program = await backend.prepare(plan, async () => data, { capacity: rows, maxRows: rows });
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * seconds;
  do {
    const start = performance.now();
    await program.run({ rows, position: 0, logits: 'none' });
    best = Math.min(best, performance.now() - start);
  } while (performance.now() < end);
  await program.dispose();
  return best / 1000 / repeats;
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '0.4' },
    isa: { type: 'string' },
  },
});
const support = nativeSupport();
if (!support.available) {
  console.error(support.reason);
  process.exit(1);
}
const results = [];
for (const isa of values.isa ? [values.isa] : support.instructionSets) {
  const backend = await createNativeBackend({ isa, threads: 1 });
  for (const { work = 1, ...kernel } of KERNELS) {
    for (const [model, shapes] of Object.entries(kernel.models)) {
      for (const shape of shapes) {
        for (const rows of ROWS) {
          const seconds = await time(backend, kernel, shape, rows, Number(values.seconds));
          const rate = (work * shape[0] * shape[1] * rows) / seconds / 1e9;
          const unit = work === 2 ? 'GFLOP/s' : 'G weights/s';
          results.push({ isa, kernel: kernel.kernel, model, shape, rows, rate, unit });
          const line = `${isa.padEnd(7)} ${kernel.kernel.padEnd(9)} ${shape.join(' x ').padEnd(12)} ${String(rows).padStart(3)} rows ${rate.toFixed(1).padStart(7)} ${unit}`;
          if (values.json) console.error(line);
          else console.log(line);
        }
      }
    }
  }
  await backend.dispose();
}
if (values.json) console.log(JSON.stringify(results));
