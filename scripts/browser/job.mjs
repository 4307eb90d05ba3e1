// What check-browser.mjs runs in Node, in a page and in a Web Worker: logits of a tiny model on the wasm backend.
import { buildPlan, createWasmBackend, SLOTS } from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';

/** @returns {Promise<{threads: number, logits: number[], milliseconds: number}>} of 70 rows, then of one */
export async function runJob({ linear, embedding, ...options }) {
  const backend = await createWasmBackend(options);
  const { threads } = backend;
  const source = makeTinyModel({ linear, embedding });
  const program = await backend.prepare(buildPlan(source), (name) => source.readTensor(name), {
    capacity: 80,
    maxRows: 70,
  });
  const logits = [];
  const start = performance.now();
  for (let round = 0; round < 20; round++) {
    logits.length = 0;
    for (const [position, rows] of [
      [0, 70],
      [70, 1],
    ]) {
      await program.write(
        SLOTS.tokens,
        Int32Array.from({ length: rows }, (_, i) => (i * 37) % 250),
      );
      await program.run({ rows, position, logits: 'all' });
      logits.push(...(await program.read(SLOTS.logits)));
      // Lets helper threads come in between.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  const milliseconds = performance.now() - start;
  await program.dispose();
  await backend.dispose();
  return { threads, logits, milliseconds };
}
