// Stage 1: block after block, each linear layer quantized against the inputs it will really see.
//
// Two streams of hidden states go through the model: the student's, which carries the errors of all layers quantized so far,
// and, when corrections are asked for, the teacher's, which carries none. A block's linear layers are taken in the order in
// which they run, those of a common input together. Only the streams, the inputs of one group and one block are in memory.
import type { Backend } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { pause } from '../abort.ts';
import type { Stream } from '../calibration/streams.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { solveSymmetric, subtractProduct, type Workspace } from '../linalg/index.ts';
import type { LayerMethod, LayerProblem, LayerResult } from '../methods/layer-method.ts';
import { advanceToGroup, type Flow, type InputStatistics, leaveBlock, listGroups } from './block-flow.ts';
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
  const context = { checkpoint, backend, signal: run.signal };
  const student: Flow = { stream, inputs: [] };
  const teacher: Flow | null = options.correction > 0 ? { stream: copyStream(stream), inputs: [] } : null;
  for (let block = 0; block < blockCount; block++) {
    const step = (layer: string, done: number) =>
      run.onProgress?.(layer, block * STEPS + done, blockCount * STEPS);
    const kept = await run.store?.load(block, (name) => checkpoint.tensorInfo(name));
    const layers = new Map(kept);
    const groups = kept ? [] : listGroups(block);
    for (const [index, names] of groups.entries()) {
      step(names[0]!, index);
      const inputs = await advanceToGroup(context, block, index, layers, student, teacher);
      checkStatistics(checkpoint, names[0]!, inputs.gram);
      if (inputs.cross) checkStatistics(checkpoint, names[0]!, inputs.cross);
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
    step(`block ${block}`, STEPS - 1);
    if (block + 1 < blockCount) {
      await leaveBlock(context, block, layers, student);
      if (teacher) await leaveBlock(context, block, new Map(), teacher);
    }
    yield { block, layers };
  }
  run.onProgress?.('done', blockCount * STEPS, blockCount * STEPS);
}

function copyStream(stream: Stream): Stream {
  return { ...stream, windows: stream.windows.map((window) => window.slice()) };
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
