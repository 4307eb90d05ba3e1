// Stage 1: block after block, each linear layer quantized against the inputs it will really see.
//
// Two streams of hidden states go through the model: the student's, which carries the errors of all layers quantized so far,
// and, when corrections are asked for, the teacher's, which carries none. A block's linear layers are taken in the order in
// which they run, those of a common input together. Only the streams and one block are in memory.
import {
  type Backend,
  buildPlan,
  crossSlot,
  type ExecutionPlan,
  inputSlot,
  type Program,
  SLOTS,
  statisticsSlot,
  teacherSlot,
} from '@duobit/core';
import { blockWeights, DuobitError, type TensorData } from '@duobit/format';
import { pause } from '../abort.ts';
import { readChecked, runRows, type Stream } from '../calibration/streams.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { solveSymmetric, subtractProduct, type Workspace } from '../linalg/index.ts';
import type { LayerMethod, LayerProblem, LayerResult } from '../methods/layer-method.ts';
import type { BlockLayers, BlockStore } from './block-store.ts';
import { PLAIN_QUANTIZER, searchClips } from './clip-search.ts';

export interface Stage1Options {
  readonly method: LayerMethod;
  /**
   * How far weights are moved towards what gives the teacher's outputs on the student's inputs, 0 to 1: their target is
   * W + correction * W (C - H) H^-1 with H = sum x x^T, C = sum t x^T of student's inputs x and teacher's t. 0 needs no
   * teacher.
   */
  readonly correction: number;
  /** Damping of H in that correction, as a part of the mean of its diagonal. */
  readonly correctionDamping: number;
  /** 'search' for the clips of each input that cost the least; 'none' covers each row's whole range. */
  readonly clips: 'search' | 'none';
}

export interface BlockResult {
  readonly block: number;
  readonly layers: BlockLayers;
}

export interface Stage1Run {
  readonly onProgress?: ((layer: string, done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Keeps each block as it is done; blocks that an earlier run kept are taken as they are. */
  readonly store?: BlockStore | undefined;
}

/** Steps of work a block counts as: one a distinct input, and one for the streams' way to the next block. */
const STEPS = 5;

/** Rows of an input that clips are searched on, about. */
const SAMPLED_ROWS = 512;

/**
 * Quantizes the linear layers of every block in turn.
 *
 * @param stream residual streams before the first block; changed in place
 * @throws DuobitError `CALIBRATION_NOT_FINITE`, `ABORTED`, and those of the method, backend and checkpoint
 */
export async function* quantizeBlocks(
  checkpoint: Checkpoint,
  backend: Backend,
  space: Workspace,
  stream: Stream,
  options: Stage1Options,
  run: Stage1Run = {},
): AsyncGenerator<BlockResult> {
  const { blockCount } = checkpoint.architecture;
  const teacher = options.correction > 0 ? copyStream(stream) : null;
  for (let block = 0; block < blockCount; block++) {
    const step = (layer: string, done: number) =>
      run.onProgress?.(layer, block * STEPS + done, blockCount * STEPS);
    const kept = await run.store?.load(block, (name) => checkpoint.tensorInfo(name));
    const layers = new Map(kept);
    const weights = blockWeights(block);
    const groups = [
      [weights.q, weights.k, weights.v],
      [weights.o],
      [weights.gate, weights.up],
      [weights.down],
    ];
    for (const [index, names] of groups.entries()) {
      if (names.every((name) => layers.has(name))) continue;
      step(names[0]!, index);
      const inputs = await measureInputs(
        checkpoint,
        backend,
        block,
        names[0]!,
        layers,
        stream,
        teacher,
        run.signal,
      );
      const results = new Map<string, LayerResult>();
      const errors = new Map<string, number>();
      for (const name of names) {
        await pause(run.signal);
        const [rows, columns] = checkpoint.tensorInfo(name).shape as [number, number];
        const original = await checkpoint.readF32(name);
        const target = inputs.cross ? correct(original, rows, columns, inputs, options, space) : original;
        const problem = { name, rows, columns, weights: target, hessian: inputs.gram };
        const result = options.method.quantize(problem, space);
        results.set(name, result);
        errors.set(name, outputError(original, result.approximation, problem, space));
      }
      const matrices = [...results.values()].map(({ approximation }) => approximation);
      const activation =
        options.clips === 'none'
          ? PLAIN_QUANTIZER
          : searchClips(inputs.samples, checkpoint.tensorInfo(names[0]!).shape[1]!, matrices, space);
      for (const [name, result] of results)
        layers.set(name, { result, error: errors.get(name)!, activation });
    }
    if (!kept) await run.store?.save(block, layers);
    step(`block ${block}`, groups.length);
    if (block + 1 < blockCount) {
      await advance(checkpoint, backend, block, layers, stream, run.signal);
      if (teacher) await advance(checkpoint, backend, block, new Map(), teacher, run.signal);
    }
    yield { block, layers };
  }
  run.onProgress?.('done', blockCount * STEPS, blockCount * STEPS);
}

function copyStream(stream: Stream): Stream {
  return { ...stream, windows: stream.windows.map((window) => window.slice()) };
}

interface InputStatistics {
  /** H [K, K] */
  readonly gram: Float32Array;
  /** C^T [K, K]: sum of x_i t_j; null without a teacher. */
  readonly cross: Float32Array | null;
  /** Some rows of the inputs [samples, K]. */
  readonly samples: Float32Array;
}

/** Runs all windows as far as the input of a weight and sums up what it sees there. */
async function measureInputs(
  checkpoint: Checkpoint,
  backend: Backend,
  block: number,
  weight: string,
  layers: BlockLayers,
  stream: Stream,
  teacher: Stream | null,
  signal: AbortSignal | undefined,
): Promise<InputStatistics> {
  const statistics = teacher ? 'cross' : 'gram';
  const student = await prepareBlock(
    checkpoint,
    backend,
    block,
    layers,
    stream,
    (plan) => cutBefore(plan, weight),
    statistics,
  );
  const guide =
    teacher &&
    (await prepareBlock(checkpoint, backend, block, new Map(), teacher, (plan) => cutBefore(plan, weight)));
  const samples: Float32Array[] = [];
  const runs =
    stream.windows.length * Math.ceil(stream.windows[0]!.length / stream.hiddenSize / stream.maxRows);
  try {
    for (const [index, window] of stream.windows.entries()) {
      await pause(signal);
      await runRows(window, stream.hiddenSize, async (part, rows, position) => {
        if (teacher && guide) {
          const start = position * stream.hiddenSize;
          await runPart(guide, teacher.windows[index]!.subarray(start, start + part.length), rows, position);
          await student.write(teacherSlot(weight), await guide.read(inputSlot(weight)));
        }
        await runPart(student, part, rows, position);
        samples.push(
          ...pickRows(await student.read(inputSlot(weight)), rows, Math.ceil(SAMPLED_ROWS / runs)),
        );
      });
    }
    const gram = await student.read(statisticsSlot(weight));
    const cross = teacher ? await student.read(crossSlot(weight)) : null;
    checkStatistics(checkpoint, weight, gram);
    if (cross) checkStatistics(checkpoint, weight, cross);
    return { gram, cross, samples: joinRows(samples) };
  } finally {
    await student.dispose();
    await guide?.dispose();
  }
}

/** The streams' way through a block whose layers are quantized where `layers` has them. */
async function advance(
  checkpoint: Checkpoint,
  backend: Backend,
  block: number,
  layers: BlockLayers,
  stream: Stream,
  signal: AbortSignal | undefined,
): Promise<void> {
  const program = await prepareBlock(checkpoint, backend, block, layers, stream, (plan) => plan);
  try {
    for (const window of stream.windows) {
      await pause(signal);
      await runRows(window, stream.hiddenSize, async (part, rows, position) => {
        await runPart(program, part, rows, position);
        part.set(await program.read(SLOTS.residual));
      });
    }
  } finally {
    await program.dispose();
  }
}

async function prepareBlock(
  checkpoint: Checkpoint,
  backend: Backend,
  block: number,
  layers: BlockLayers,
  stream: Stream,
  cut: (plan: ExecutionPlan) => ExecutionPlan,
  statistics: 'none' | 'gram' | 'cross' = 'none',
): Promise<Program> {
  const read = async (name: string): Promise<TensorData> => {
    const layer = layers.get(name);
    if (!layer) return readChecked(checkpoint, name);
    return {
      info: { ...checkpoint.tensorInfo(name), encoding: { kind: 'f32' } },
      planes: { dense: new Uint8Array(layer.result.approximation.buffer as ArrayBuffer) },
    };
  };
  const plan = cut(buildPlan(checkpoint, { section: { block }, statistics, activations: 'f16' }));
  const longest = Math.max(...stream.windows.map((window) => window.length / stream.hiddenSize));
  return backend.prepare(plan, read, { capacity: longest, maxRows: Math.min(stream.maxRows, longest) });
}

/** A block's plan up to where a weight is first used, with the statistics of that weight's input alone. */
function cutBefore(plan: ExecutionPlan, weight: string): ExecutionPlan {
  const wanted = [statisticsSlot(weight), crossSlot(weight)];
  const end = plan.operations.findIndex((operation) => 'weight' in operation && operation.weight === weight);
  const operations = plan.operations
    .slice(0, end)
    .filter((operation) => operation.op !== 'accumulateGram' || wanted.includes(operation.out));
  const dropped = (slot: string) =>
    /^(stat|cross|teacher):/.test(slot) && ![...wanted, teacherSlot(weight)].includes(slot);
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

async function runPart(program: Program, part: Float32Array, rows: number, position: number): Promise<void> {
  await program.write(SLOTS.residual, part);
  await program.run({ rows, position, logits: 'none' });
}

function checkStatistics(checkpoint: Checkpoint, weight: string, sums: Float32Array): void {
  const broken = sums.findIndex((sum) => !Number.isFinite(sum));
  if (broken < 0) return;
  const side = Math.sqrt(sums.length);
  throw new DuobitError(
    'CALIBRATION_NOT_FINITE',
    `inputs ${Math.floor(broken / side)} and ${broken % side} of the layer have the sum of products ${sums[broken]} on the calibration text`,
    {
      source: checkpoint.name,
      where: weight,
      remedy: 'Check the checkpoint for overflowing or broken weights',
    },
  );
}

/**
 * The weights that come nearest to the teacher's outputs on the student's inputs, sum |W t - W' x|^2 least, so far as
 * `correction` goes: W + correction * W (C - H) (H + damping)^-1.
 */
function correct(
  weights: Float32Array,
  rows: number,
  columns: number,
  { gram, cross }: InputStatistics,
  { correction, correctionDamping }: Stage1Options,
  space: Workspace,
): Float32Array {
  const difference = new Float32Array(columns * columns);
  for (let i = 0; i < columns; i++)
    for (let j = 0; j < columns; j++)
      // cross is C^T; the product below is subtracted.
      difference[i * columns + j] = gram[i * columns + j]! - cross![j * columns + i]!;
  const change = new Float32Array(rows * columns);
  subtractProduct(
    space,
    { values: change },
    { values: weights },
    { values: difference },
    rows,
    columns,
    columns,
  );
  const hessian = Float64Array.from(gram);
  let mean = 0;
  for (let j = 0; j < columns; j++) mean += gram[j * columns + j]! / columns;
  // Nothing reaches the layer: there is nothing to correct.
  if (mean === 0) return weights;
  for (let j = 0; j < columns; j++) hessian[j * columns + j]! += correctionDamping * mean;
  solveSymmetric(space, hessian, columns, change, rows);
  return weights.map((weight, i) => weight + correction * change[i]!);
}

/** |(W - W^) X|^2 / |W X|^2 over the calibration tokens: trace of D H D^T over that of W H W^T. */
function outputError(
  weights: Float32Array,
  approximation: Float32Array,
  { rows, columns, hessian }: LayerProblem,
  space: Workspace,
): number {
  const energy = (matrix: Float32Array): number => {
    const product = new Float32Array(matrix.length);
    subtractProduct(
      space,
      { values: product },
      { values: matrix },
      { values: hessian },
      rows,
      columns,
      columns,
    );
    let sum = 0;
    for (let i = 0; i < matrix.length; i++) sum -= matrix[i]! * product[i]!;
    return sum;
  };
  const whole = energy(weights);
  return whole > 0 ? Math.max(0, energy(weights.map((weight, i) => weight - approximation[i]!))) / whole : 0;
}
