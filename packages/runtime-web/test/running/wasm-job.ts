// What wasm.test.ts runs in Node, in a page and in a worker: logits of a tiny model on the wasm backend.
import { buildPlan, createWasmBackend, SLOTS } from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';

export interface WasmJob {
  readonly linear: 'w11' | 'f32';
  readonly embedding: 'int8' | 'int4';
  readonly relaxedSimd: boolean;
  readonly threads: number;
}

const ROUNDS = 5;

/** Threads that ran, and logits of 70 rows, then of one. */
export async function runWasmJob({
  linear,
  embedding,
  ...options
}: WasmJob): Promise<{ threads: number; logits: number[] }> {
  const backend = await createWasmBackend(options);
  const { threads } = backend;
  const source = makeTinyModel({ linear, embedding });
  const program = await backend.prepare(buildPlan(source), (name) => source.readTensor(name), {
    capacity: 80,
    maxRows: 70,
  });
  const logits: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    logits.length = 0;
    for (const [position, rows] of [
      [0, 70],
      [70, 1],
    ] as const) {
      const tokens = Int32Array.from({ length: rows }, (_, i) => (i * 37) % 250);
      await program.write(SLOTS.tokens, tokens);
      await program.run({ rows, position, logits: 'all' });
      logits.push(...(await program.read(SLOTS.logits)));
      // Lets helper threads come in between.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  await program.dispose();
  await backend.dispose();
  return { threads, logits };
}
