// Greedy decoding that stays on the device: the best token goes straight into the next step, and nothing is waited for
// until all are there. What a sampler with other settings needs is logits, and those go by way of `read`.
import { DuobitError } from '@duobit/format';
import { roundUp } from './arena.ts';
import type { CudaProgram } from './program.ts';

const THREADS = 256;
/** Logits that are worth a block of their own. */
const PART = 4096;

/**
 * Runs `count` steps from a token at a position, each on the best token (the first of equals) of the one before.
 * @returns the tokens chosen
 * @throws DuobitError `RUN_INVALID` when the plan has not one slot of tokens and one of logits, or the cache is too short
 */
export async function decodeGreedy(
  program: CudaProgram,
  token: number,
  position: number,
  count: number,
): Promise<Int32Array> {
  const { device, plan, slots, state, options, steps, arena } = program.parts;
  const refuse = (what: string) =>
    new DuobitError('RUN_INVALID', what, { where: 'cuda backend', remedy: 'Run a whole model' });
  const embeds = plan.operations.filter((operation) => operation.op === 'embed');
  const heads = plan.operations.filter((operation) => operation.op === 'logits');
  if (embeds.length !== 1 || heads.length !== 1) throw refuse('the plan is not that of one model');
  if (position + count > options.capacity)
    throw refuse(`${count} tokens from ${position} do not fit the cache`);
  const input = slots.get(embeds[0]!.input)!;
  const logits = slots.get(heads[0]!.out)!;
  if (input.kind !== 'tokens' || logits.kind !== 'f32')
    throw new DuobitError('INTERNAL', 'slots of other kinds');
  const blocks = Math.ceil(logits.width / PART);
  // Tokens, the best of each block, and how many blocks are done.
  const list = arena.scratch(4 * roundUp(options.capacity, 2) + 8 * blocks + 4, 'tokens');
  const bests = list + 4 * roundUp(options.capacity, 2);
  const done = bests + 8 * blocks;
  const graphs = new Map<number, number>();
  try {
    device.uploadBytes(input.address, new Uint8Array(Int32Array.of(token).buffer));
    device.uploadBytes(state, new Uint8Array(Int32Array.of(position, 1).buffer));
    device.fill(done, 0, 4);
    for (let at = position; at < position + count; at++) {
      const positions = 2 ** Math.ceil(Math.log2(at + 1));
      let graph = graphs.get(positions);
      if (graph === undefined) {
        graph = device.capture(() => {
          for (const step of steps)
            step({ rows: 1, wanted: [{ first: 0, count: 1 }], positions, sequence: 0 });
          device.launch(
            'argmax_step',
            [blocks, 1, 1],
            THREADS,
            [logits.address, input.address, list, state, bests, done],
            [logits.width, PART],
          );
        });
        graphs.set(positions, graph);
      }
      device.launchGraph(graph);
    }
    const chosen = device.download(list + 4 * position, 4 * count);
    return new Int32Array(chosen.buffer);
  } finally {
    for (const graph of graphs.values()) device.destroyGraph(graph);
  }
}
