// Kernels alone: one row times the matrices of SmolLM2-135M's blocks, ours against ONNX Runtime's MatMulNBits.
import { fileURLToPath } from 'node:url';
import { runChild } from './child.mjs';
import { BACKENDS, hasBackend } from './ours.mjs';
import { summarize } from './record.mjs';

const WORKER = fileURLToPath(new URL('./matvec-worker.mjs', import.meta.url));
const ROUNDS = 3;
const SECONDS = 0.5;

/** Attention's square matrices, and the pair of an MLP that a chain can run in turns. */
const SHAPES = [
  { name: '576 x 576', shapes: [{ rows: 576, columns: 576 }] },
  {
    name: '1536 x 576 and 576 x 1536',
    shapes: [
      { rows: 1536, columns: 576 },
      { rows: 576, columns: 1536 },
    ],
  },
];

/**
 * Interleaved rounds at one thread. @param installed what `installPeer('onnxruntime')` gave
 * @returns rows {kernel, shape, gweights: {median, minimum, maximum}} in 10^9 weights a second
 */
export async function measureMatvec(installed, skipped, log) {
  const kernels = BACKENDS.filter(hasBackend).map((backend) => ({
    kernel: `**Duobit ${backend} W(1+1)A4**, groups of 128`,
    backend,
  }));
  if (installed.reason === undefined) {
    for (const bits of [2, 4]) {
      kernels.push({
        kernel: `ONNX Runtime MatMulNBits, ${bits} bits, blocks of 64, 8-bit activations`,
        bits,
      });
    }
  } else skipped.push({ name: 'onnxruntime', reason: installed.reason });
  const results = [];
  for (const { name, shapes } of SHAPES) {
    const rates = kernels.map(() => []);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [i, { backend, bits }] of kernels.entries()) {
        const { gweights } = await runChild(WORKER, { shapes, backend, bits, seconds: SECONDS });
        rates[i].push(gweights);
      }
    }
    for (const [i, { kernel }] of kernels.entries()) {
      results.push({ kernel, shape: name, gweights: summarize(rates[i]) });
      log(`${kernel}, ${name}: ${results.at(-1).gweights.median.toFixed(2)} G weights/s`);
    }
  }
  return results;
}
