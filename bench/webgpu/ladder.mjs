// W(1+1)A4 products of single shapes, one row of codes: time of a product and its share of the bandwidth that a plain read reaches,
// by variant and by how the product is spread over threads.
import { measureBandwidth } from './bandwidth.mjs';
import { open } from './open.mjs';
import { randomPlanes } from './random-model.mjs';

export const LADDER_SHAPES = [
  [4096, 4096],
  [14_336, 4096],
  [4096, 14_336],
  [28_672, 8192],
];

const UNCHECKED = ['skip_validation', 'disable_robustness'];

/** What is tried: its name, and options of the backend. */
const SUBJECTS = [
  ['default', {}],
  ['dot', { tuning: { product: 'dot' } }],
  ['bits', { tuning: { product: 'bits' } }],
  ['no subgroups', { variant: { subgroups: false } }],
  ['plain', { variant: { packedDot: false, subgroups: false, f16: false } }],
  ['unchecked', { features: UNCHECKED }],
  ['unchecked dot', { features: UNCHECKED, tuning: { product: 'dot' } }],
  ...[264, 528, 2048, 8192].map((streams) => [`streams ${streams}`, { tuning: { streams } }]),
  ['no streams', { tuning: { streams: 0 } }],
  ['workgroup 64', { tuning: { workgroup: 64 } }],
  ['workgroup 256', { tuning: { workgroup: 256 } }],
];
const TILED = [
  ['dot', {}],
  ['unchecked', { features: UNCHECKED }],
  ['bits', { variant: { packedDot: false } }],
];

/** A plan that quantizes once and multiplies by as many matrices as leave no cache a chance. */
function planOf([rows, columns], count) {
  const operations = [
    {
      op: 'quantizeActivations',
      input: 'x',
      quantizer: { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null },
      out: 'q',
    },
  ];
  for (let i = 0; i < count; i++) operations.push({ op: 'w11MatMul', input: 'q', weight: `w${i}`, out: 'y' });
  return {
    slots: {
      x: { kind: 'f32', width: columns },
      q: { kind: 'a4', width: columns },
      y: { kind: 'f32', width: rows },
    },
    operations,
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array(1),
  };
}

async function measure(backend, shape, { bytes, rowsOfCodes }) {
  const encoding = { kind: 'w11', groupSize: 128, offsets: true };
  const size = (shape[0] * shape[1] * 2.5) / 8;
  const count = Math.max(2, Math.min(64, Math.ceil(bytes / size)));
  const planes = randomPlanes(shape, encoding);
  const read = async (name) => ({ info: { name, shape, encoding, activation: null }, planes });
  const program = await backend.prepare(planOf(shape, count), read, {
    capacity: rowsOfCodes,
    maxRows: rowsOfCodes,
  });
  await program.write(
    'x',
    Float32Array.from({ length: rowsOfCodes * shape[1] }, (_, i) => Math.sin(i)),
  );
  const request = { rows: rowsOfCodes, position: 0, logits: 'none' };
  const times = [];
  for (let round = 0; round < 6; round++) {
    const [{ nanoseconds }] = await program.profile(request, 'run');
    if (round > 0) times.push(nanoseconds / count);
  }
  const weightBytes = program.counters.bufferBytes === 0 ? 0 : program.weightBytes / count;
  await program.dispose();
  return { microseconds: Math.min(...times) / 1000, weightBytes, copies: count };
}

/** @param quick a smoke test: small shapes, no figures worth keeping */
export async function runLadder(record, { quick = false } = {}) {
  const shapes = quick ? [[256, 512]] : LADDER_SHAPES;
  const bytes = quick ? 1e5 : 2.5e8;
  let bandwidth = null;
  for (const [name, options] of SUBJECTS) {
    let backend = null;
    try {
      backend = await open(options);
      if (!bandwidth) {
        bandwidth = await measureBandwidth(backend.device, quick ? 1 << 20 : 1 << 30);
        record('bandwidth', bandwidth);
        console.log(
          `copy ${bandwidth.copy.toFixed(0)} GB/s (read and written), read ${bandwidth.read.toFixed(0)} GB/s`,
        );
      }
      const cells = [];
      for (const shape of shapes) {
        const one = await measure(backend, shape, { bytes, rowsOfCodes: 1 });
        const rate = one.weightBytes / one.microseconds / 1000;
        record('matvec', {
          name,
          variant: backend.instructionSet,
          shape,
          ...one,
          rate,
          share: rate / bandwidth.read,
        });
        cells.push(
          `${shape.join('x')} ${one.microseconds.toFixed(1)} us ${rate.toFixed(0)} GB/s ${((100 * rate) / bandwidth.read).toFixed(0)}%`,
        );
      }
      const line = `${name.padEnd(28)} ${backend.instructionSet.padEnd(18)} ${cells.join(' | ')}`;
      console.log(line);
    } catch (error) {
      console.log(`${name}: ${error.message}`);
      record('matvec', { name, error: error.message });
    } finally {
      await backend?.dispose();
    }
  }
}

/** Products of many rows: tiles. */
export async function runTiles(record, { quick = false } = {}) {
  const shapes = quick ? [[256, 512]] : LADDER_SHAPES.slice(0, 3);
  const tokens = quick ? 64 : 512;
  for (const [name, options] of TILED) {
    let backend = null;
    try {
      backend = await open(options);
      for (const shape of shapes) {
        const one = await measure(backend, shape, { bytes: 1, rowsOfCodes: tokens });
        const rate = (2 * shape[0] * shape[1] * tokens) / one.microseconds / 1e6;
        record('matmul', { name, variant: backend.instructionSet, shape, tokens, ...one, teraops: rate });
        console.log(
          `${name.padEnd(14)} ${shape.join('x')} by ${tokens}: ${one.microseconds.toFixed(0)} us, ${rate.toFixed(2)} Top/s`,
        );
      }
    } catch (error) {
      console.log(`${name}: ${error.message}`);
      record('matmul', { name, error: error.message });
    } finally {
      await backend?.dispose();
    }
  }
}
