// How a stream goes through a block that is quantized on the way: from one group of linear layers to the next. What lies
// between two groups runs once; the stream waits at the inputs of the next group until its layers are quantized.
import {
  type Backend,
  buildPlan,
  crossSlot,
  type ExecutionPlan,
  inputSlot,
  type Program,
  rotatedSlot,
  SLOTS,
  statisticsSlot,
  teacherSlot,
} from '@duobit/core';
import { blockWeights, type TensorData } from '@duobit/format';
import { pause } from '../abort.ts';
import { readChecked, runRows, type Stream } from '../calibration/streams.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
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
}

/** A stream on its way through a block. */
export interface Flow {
  /** Residual streams; changed in place. */
  readonly stream: Stream;
  /** Of each window, what the layers of the group ahead read [tokens, K]; empty before the first group. */
  inputs: Float32Array[];
}

export interface InputStatistics {
  /** H [K, K] = sum x x^T */
  readonly gram: Float32Array;
  /** C^T [K, K]: sum of x_i t_j; null without a teacher. */
  readonly cross: Float32Array | null;
  /** Some rows of the inputs [samples, K]. */
  readonly samples: Float32Array;
}

/** Rows of an input that are sampled, about. */
const SAMPLED_ROWS = 512;

/**
 * Takes the student and the teacher, if there is one, to the inputs of a group and sums up what the student's are.
 *
 * @param group index in `listGroups(block)`, the one after the group that the flows are at
 * @param layers of the block as quantized so far: what the student's stream goes through
 */
export async function advanceToGroup(
  context: FlowContext,
  block: number,
  group: number,
  layers: BlockLayers,
  student: Flow,
  teacher: Flow | null,
): Promise<InputStatistics> {
  const weight = listGroups(block)[group]![0]!;
  const [runStudent, runTeacher] = await Promise.all([
    prepareSection(context, block, group, layers, student, teacher ? 'cross' : 'gram'),
    teacher && prepareSection(context, block, group, new Map(), teacher, 'none'),
  ]);
  const samples: Float32Array[] = [];
  const { windows, hiddenSize, maxRows } = student.stream;
  const runs = windows.length * Math.ceil(windows[0]!.length / hiddenSize / maxRows);
  try {
    for (const index of windows.keys()) {
      await pause(context.signal);
      await runWindow(student, index, async (part) => {
        if (teacher && runTeacher) {
          const theirs = { ...part, residual: teacher.stream.windows[index]!.subarray(...part.range) };
          const input = await runTeacher.run(theirs, index);
          await runStudent.program.write(teacherSlot(weight), input);
        }
        const input = await runStudent.run(part, index);
        samples.push(...pickRows(input, part.rows, Math.ceil(SAMPLED_ROWS / runs)));
      });
    }
    const gram = await runStudent.program.read(statisticsSlot(weight));
    const cross = teacher ? await runStudent.program.read(crossSlot(weight)) : null;
    runStudent.arrive();
    runTeacher?.arrive();
    return { gram, cross, samples: joinRows(samples) };
  } finally {
    await runStudent.program.dispose();
    await runTeacher?.program.dispose();
  }
}

/** Takes a flow to the end of the block, from wherever in it it is. */
export async function leaveBlock(
  context: FlowContext,
  block: number,
  layers: BlockLayers,
  flow: Flow,
): Promise<void> {
  const section = await prepareSection(context, block, null, layers, flow, 'none');
  try {
    for (const index of flow.stream.windows.keys()) {
      await pause(context.signal);
      await runWindow(flow, index, async (part) => {
        await section.run(part, index);
      });
    }
    flow.inputs = [];
  } finally {
    await section.program.dispose();
  }
}

/** Some rows of a window. */
interface Part {
  /** A view of the residual stream. */
  readonly residual: Float32Array;
  /** Where that lies in its window. */
  readonly range: readonly [start: number, end: number];
  readonly rows: number;
  readonly position: number;
}

function runWindow(flow: Flow, index: number, run: (part: Part) => Promise<void>): Promise<void> {
  const { windows, hiddenSize } = flow.stream;
  return runRows(windows[index]!, hiddenSize, (residual, rows, position) => {
    const start = position * hiddenSize;
    return run({ residual, rows, position, range: [start, start + residual.length] });
  });
}

interface Section {
  readonly program: Program;
  /** Updates the residual in place; keeps, and gives, the inputs of the group where the section ends (none: empty). */
  run(part: Part, window: number): Promise<Float32Array>;
  /** The flow is at the section's end now. */
  arrive(): void;
}

/**
 * What lies between two groups of a block: from the products of the group whose inputs the flow holds, or from the block's
 * beginning, up to the inputs of `group`, or to the block's end.
 */
async function prepareSection(
  { checkpoint, backend }: FlowContext,
  block: number,
  group: number | null,
  layers: BlockLayers,
  flow: Flow,
  statistics: 'none' | 'gram' | 'cross',
): Promise<Section> {
  const { stream } = flow;
  const plan = buildPlan(checkpoint, { section: { block }, statistics, activations: 'f16' });
  const groups = listGroups(block);
  const end = group === null ? null : groups[group]![0]!;
  const begin = flow.inputs.length === 0 ? null : groups[(group ?? groups.length) - 1]![0]!;
  const read = async (name: string): Promise<TensorData> => {
    const layer = layers.get(name);
    if (!layer) return readChecked(checkpoint, name);
    return {
      info: { ...checkpoint.tensorInfo(name), encoding: { kind: 'f32' } },
      planes: { dense: new Uint8Array(layer.result.approximation.buffer as ArrayBuffer) },
    };
  };
  const longest = Math.max(...stream.windows.map((window) => window.length / stream.hiddenSize));
  const program = await backend.prepare(cut(plan, begin, end), read, {
    capacity: longest,
    maxRows: Math.min(stream.maxRows, longest),
  });
  const slotOf = (weight: string): string => {
    const slot = inputSlot(weight);
    return checkpoint.tensorInfo(weight).inputRotation ? rotatedSlot(slot) : slot;
  };
  const next: Float32Array[] = [];
  const columns = end === null ? 0 : checkpoint.tensorInfo(end).shape[1]!;
  const before = begin === null ? 0 : checkpoint.tensorInfo(begin).shape[1]!;
  return {
    program,
    async run({ residual, rows, position }, window) {
      await program.write(SLOTS.residual, residual);
      if (begin !== null) {
        const inputs = flow.inputs[window]!.subarray(position * before, (position + rows) * before);
        await program.write(slotOf(begin), inputs);
      }
      await program.run({ rows, position, logits: 'none' });
      residual.set(await program.read(SLOTS.residual));
      if (end === null) return new Float32Array();
      const input = await program.read(slotOf(end));
      const tokens = stream.windows[window]!.length / stream.hiddenSize;
      next[window] ??= new Float32Array(tokens * columns);
      next[window].set(input, position * columns);
      return input;
    },
    arrive() {
      flow.inputs = next;
    },
  };
}

/** A block's plan from where one weight is first used up to where another is, with the statistics of that one's input. */
function cut(plan: ExecutionPlan, begin: string | null, end: string | null): ExecutionPlan {
  const firstUse = (weight: string): number =>
    plan.operations.findIndex((operation) => 'weight' in operation && operation.weight === weight);
  const wanted = end === null ? [] : [statisticsSlot(end), crossSlot(end), teacherSlot(end)];
  const operations = plan.operations
    .slice(begin === null ? 0 : firstUse(begin), end === null ? undefined : firstUse(end))
    .filter((operation) => operation.op !== 'accumulateGram' || wanted.includes(operation.out));
  const dropped = (slot: string) => /^(stat|cross|teacher):/.test(slot) && !wanted.includes(slot);
  return {
    ...plan,
    operations,
    slots: Object.fromEntries(Object.entries(plan.slots).filter(([name]) => !dropped(name))),
  };
}

/** `count` rows of a matrix, spread evenly. */
function pickRows(matrix: Float32Array, rows: number, count: number): Float32Array[] {
  const columns = matrix.length / rows;
  const picked = Math.min(rows, count);
  return Array.from({ length: picked }, (_, i) => {
    const row = Math.floor((i * rows) / picked);
    return matrix.slice(row * columns, (row + 1) * columns);
  });
}

function joinRows(rows: readonly Float32Array[]): Float32Array {
  const joined = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    joined.set(row, at);
    at += row.length;
  }
  return joined;
}
