// Whether a backend gives a row the same bits whatever rows are beside it: a text in pieces of any size, alone or with others. Backends
// that do write the same text however busy they are, and with or without what a cache held before.
import { type Backend, buildPlan, type RunPart, SLOTS } from '@duobit/core';
import { demandBits } from './compare.ts';
import { createRandom, drawInteger } from './random-values.ts';
import { makeTinyModel, type TinyModelOptions } from './tiny-model.ts';

/** Long enough that positions are taken in several blocks and parts. */
const LENGTH = 300;
const MAX_ROWS = 40;

/**
 * Runs a text of a tiny model in pieces, and two texts beside each other in pieces of other sizes.
 * @throws Error naming the first logit of the first text that differs
 */
export async function demandRowInvariance(backend: Backend, options: TinyModelOptions): Promise<void> {
  const source = makeTinyModel(options);
  const draw = createRandom(170);
  const text = () => Int32Array.from({ length: LENGTH }, () => drawInteger(draw, 0, 255));
  const texts = [text(), text()];
  const program = await backend.prepare(buildPlan(source), (name) => source.readTensor(name), {
    capacity: LENGTH,
    maxRows: MAX_ROWS,
    sequences: 2,
  });
  const run = async (parts: readonly RunPart[]): Promise<Float32Array> => {
    const tokens = parts.flatMap(({ sequence = 0, position, rows }) => [
      ...texts[sequence]!.subarray(position, position + rows),
    ]);
    await program.write(SLOTS.tokens, Int32Array.from(tokens));
    await program.run({ ...parts[0]!, others: parts.slice(1) });
    return program.read(SLOTS.logits);
  };
  const runAlone = async (sizes: () => number): Promise<number[]> => {
    const logits: number[] = [];
    for (let position = 0; position < LENGTH; ) {
      const rows = Math.min(LENGTH - position, sizes());
      logits.push(...(await run([{ rows, position, logits: 'all' }])));
      position += rows;
    }
    return logits;
  };
  try {
    const whole = await runAlone(() => MAX_ROWS);
    demandBits('in single rows', await runAlone(() => 1), whole);
    demandBits('in pieces of any size', await runAlone(() => drawInteger(draw, 1, 11)), whole);
    const beside: number[] = [];
    for (let position = 0, other = 0; position < LENGTH; ) {
      const rows = Math.min(LENGTH - position, draw() < 0.5 ? 1 : drawInteger(draw, 1, 9));
      const otherRows = Math.min(LENGTH - other, drawInteger(draw, 1, 9));
      const part: RunPart = { sequence: 0, rows, position, logits: 'all' };
      if (otherRows === 0) beside.push(...(await run([part])));
      else {
        const another: RunPart = { sequence: 1, rows: otherRows, position: other, logits: 'none' };
        beside.push(...(await run(draw() < 0.5 ? [part, another] : [another, part])));
      }
      position += rows;
      other += otherRows;
    }
    demandBits('beside another text', beside, whole);
  } finally {
    await program.dispose();
  }
}
