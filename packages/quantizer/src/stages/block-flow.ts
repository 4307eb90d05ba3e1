// How a stream goes through a block that is quantized on the way: from one group of linear layers to the next. What lies
// between two groups runs once; the stream waits at the inputs of the next group until its layers are quantized.
import { type Backend, buildPlan, type ExecutionPlan, inputSlot, SLOTS, tensorOf } from '@duobit/core';
import { blockWeights, type TensorData } from '@duobit/format';
import { pause } from '../abort.ts';
import { readChecked, runRows, type Stream } from '../calibration/streams.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { OutlierColumns } from '../checkpoint/parted-checkpoint.ts';
import type { BlockLayers } from './block-store.ts';

/** The linear layers of a block by the input they share, in the order in which they run. */
export function listGroups(block: number): readonly (readonly string[])[] {
  const weights = blockWeights(block);
  return [[weights.q, weights.k, weights.v], [weights.o], [weights.gate, weights.up], [weights.down]];
}

export interface FlowContext {
  readonly checkpoint: Checkpoint;
  readonly backend: Backend;
  readonly signal?: AbortSignal | undefined;
  readonly outliers: OutlierColumns;
  /** 'a4': layers that are quantized read the codes of their inputs. */
  readonly activations: 'f16' | 'a4';
}

/** A stream on its way through a block. */
export interface Flow {
  /** Residual streams; changed in place. */
  readonly stream: Stream;
  /**
   * Of each window the input of the group ahead [tokens, K], before outlier columns are taken out and it is rotated; empty
   * before the first group.
   */
  inputs: Float32Array[];
}

/**
 * Takes a flow on through a block: from the group whose inputs it holds, or from the block's beginning, to the inputs of the
 * next group, or to the block's end.
 *
 * @param group index in `listGroups(block)`; null: to the end, from wherever the flow is
 * @param layers of the block as quantized so far, through which the flow goes; none for a teacher
 */
export async function advance(
  { checkpoint, backend, signal, outliers, activations }: FlowContext,
  block: number,
  group: number | null,
  layers: BlockLayers,
  flow: Flow,
): Promise<void> {
  const { windows, hiddenSize, maxRows } = flow.stream;
  const groups = listGroups(block);
  const from =
    flow.inputs.length === 0 ? null : inputOf(checkpoint, groups[(group ?? groups.length) - 1]![0]!);
  const to = group === null ? null : inputOf(checkpoint, groups[group]![0]!);
  const plan = buildPlan(checkpoint, {
    section: { block },
    outliers,
    quantizers: (name) => (activations === 'a4' && layers.get(name)?.activation) || null,
  });
  const read = async (name: string): Promise<TensorData> => {
    const result = layers.get(tensorOf(name))?.result;
    if (!result) return readChecked(checkpoint, name);
    const values = name === tensorOf(name) ? result.approximation : result.outliers!;
    return {
      info: { ...checkpoint.tensorInfo(name), encoding: { kind: 'f32' } },
      planes: { dense: new Uint8Array(values.buffer as ArrayBuffer) },
    };
  };
  const longest = Math.max(...windows.map((window) => window.length / hiddenSize));
  const program = await backend.prepare(cut(plan, from?.slot, to?.slot), read, {
    capacity: longest,
    maxRows: Math.min(maxRows, longest),
  });
  const inputs: Float32Array[] = [];
  try {
    for (const [index, window] of windows.entries()) {
      await pause(signal);
      const reached = to && new Float32Array((window.length / hiddenSize) * to.columns);
      await runRows(window, hiddenSize, async (residual, rows, position) => {
        await program.write(SLOTS.residual, residual);
        if (from) await program.write(from.slot, rowsOf(flow.inputs[index]!, from.columns, position, rows));
        await program.run({ rows, position, logits: 'none' });
        residual.set(await program.read(SLOTS.residual));
        if (to) reached!.set(await program.read(to.slot), position * to.columns);
      });
      if (reached) inputs.push(reached);
    }
  } finally {
    await program.dispose();
  }
  flow.inputs = inputs;
}

/** A block's plan from where one slot is first read up to where another is. */
function cut(plan: ExecutionPlan, from: string | undefined, to: string | undefined): ExecutionPlan {
  const firstRead = (slot: string): number =>
    plan.operations.findIndex((operation) => 'input' in operation && operation.input === slot);
  const begin = from === undefined ? 0 : firstRead(from);
  return { ...plan, operations: plan.operations.slice(begin, to === undefined ? undefined : firstRead(to)) };
}

interface LayerInput {
  readonly slot: string;
  readonly columns: number;
}

function inputOf(checkpoint: Checkpoint, weight: string): LayerInput {
  return { slot: inputSlot(weight), columns: checkpoint.tensorInfo(weight).shape[1]! };
}

/** A view of some rows of a matrix. */
export function rowsOf(matrix: Float32Array, columns: number, first: number, count: number): Float32Array {
  return matrix.subarray(first * columns, (first + count) * columns);
}
