// Stage 1: block after block, each linear layer quantized against the inputs it will really see.
//
// Two streams of hidden states go through the model: the student's, which carries the errors of all layers quantized so far,
// and, when corrections are asked for, the teacher's, which carries none. A block's linear layers are taken in the order in
// which they run, those of a common input together. Only the streams, the inputs of one group and one block are in memory.
import { type Backend, outliersOf } from '@duobit/core';
import type { ActivationQuantizer } from '@duobit/format';
import { pause } from '../abort.ts';
import type { Stream } from '../calibration/streams.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { NO_OUTLIERS, type OutlierColumns } from '../checkpoint/parted-checkpoint.ts';
import { solveSymmetric, subtractProduct, type Workspace } from '../linalg/index.ts';
import type { LayerMethod, LayerProblem, LayerResult } from '../methods/layer-method.ts';
import { RowWorkers } from '../methods/row-workers.ts';
import { advance, type Flow, listGroups } from './block-flow.ts';
import type { BlockLayers, BlockStore, QuantizedLayer } from './block-store.ts';
import { PLAIN_QUANTIZER, searchClips } from './clip-search.ts';
import { checkStatistics, type InputStatistics, measureInputs, sampleRows } from './input-statistics.ts';
import { attachOutliers } from './outliers.ts';

/** Options of stage 1. */
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
  /** What layers are fitted to: unquantized inputs, or what the 4-bit codes of their inputs stand for. */
  readonly activations: 'f16' | 'a4';
  /** Of the checkpoint, which has them apart (`prepareCheckpoint`); for methods whose layers are packed as W(1+1). */
  readonly outliers?: OutlierColumns;
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

/** Rows of an input that clips are searched on, about. */
const SAMPLED_ROWS = 512;

/** Steps of work a block counts as: one a distinct input, and one for the streams' way to the next block. */
const STEPS = 5;

/**
 * Quantizes the linear layers of every block in turn. Whoever goes through the blocks by `next` may give other layers for the block
 * that it was given last, which then stand in the student's stream: a later stage can improve a block before the next is fitted.
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
): AsyncGenerator<BlockResult, void, BlockLayers | undefined> {
  const { blockCount } = checkpoint.architecture;
  const { outliers = NO_OUTLIERS, activations } = options;
  const context = { checkpoint, backend, signal: run.signal, outliers, activations };
  const student: Flow = { stream, inputs: [] };
  const teacher: Flow | null = options.correction > 0 ? { stream: copyStream(stream), inputs: [] } : null;
  const workers = await RowWorkers.start(backend.threads);
  const fit = { checkpoint, backend, space, workers, options, signal: run.signal };
  try {
    for (let block = 0; block < blockCount; block++) {
      const step = (layer: string, done: number) =>
        run.onProgress?.(layer, block * STEPS + done, blockCount * STEPS);
      const kept = await run.store?.load(block, (name) => checkpoint.tensorInfo(name));
      const layers = new Map(kept?.layers);
      const groups = kept ? [] : listGroups(block);
      for (const [index, names] of groups.entries()) {
        step(names[0]!, index);
        await advance(context, block, index, layers, student);
        if (teacher) await advance(context, block, index, new Map(), teacher);
        for (const [name, layer] of await quantizeGroup(fit, names, student, teacher))
          layers.set(name, layer);
      }
      if (!kept) await run.store?.save(block, { layers, training: null });
      step(`block ${block}`, STEPS - 1);
      const improved = yield { block, layers };
      if (block + 1 < blockCount) {
        await advance(context, block, null, improved ?? layers, student);
        if (teacher) await advance(context, block, null, new Map(), teacher);
      }
    }
  } finally {
    await workers.dispose();
  }
  run.onProgress?.('done', blockCount * STEPS, blockCount * STEPS);
}

interface FitContext {
  readonly checkpoint: Checkpoint;
  readonly backend: Backend;
  readonly space: Workspace;
  readonly workers: RowWorkers;
  readonly options: Stage1Options;
  readonly signal: AbortSignal | undefined;
}

/** The layers of one input, which both flows are at. */
async function quantizeGroup(
  { checkpoint, backend, space, workers, options, signal }: FitContext,
  names: readonly string[],
  student: Flow,
  teacher: Flow | null,
): Promise<Map<string, QuantizedLayer>> {
  const { outliers = NO_OUTLIERS } = options;
  const first = checkpoint.tensorInfo(names[0]!);
  const columns = first.shape[1]!;
  const rotated = first.inputRotation !== undefined;
  const form = { columns, rotated, outliers: outliers(names[0]!) };
  const samples = sampleRows(student.inputs, form, SAMPLED_ROWS);
  const clipsFor = (matrices: readonly Float32Array[]): ActivationQuantizer =>
    options.clips === 'none' ? PLAIN_QUANTIZER : searchClips(samples, columns, matrices, space);
  const originals = await Promise.all(names.map((name) => checkpoint.readF32(name)));
  // What codes stand for can only be measured once the clips are known, so these go by the checkpoint's weights.
  const known = options.activations === 'a4' ? clipsFor(originals) : null;
  const { maxRows } = student.stream;
  const measuring = { form, maxRows, quantizer: known, signal };
  const inputs = await measureInputs(backend, student.inputs, teacher?.inputs ?? null, measuring);
  checkStatistics(inputs, columns, { source: checkpoint.name, where: names[0]! });
  const fitted: { name: string; result: LayerResult; error: number }[] = [];
  for (const [i, name] of names.entries()) {
    await pause(signal);
    const original = originals[i]!;
    const rows = original.length / columns;
    const target = inputs.cross ? correct(original, rows, columns, inputs, options, space) : original;
    const problem = { name, rows, columns, weights: target, hessian: inputs.gram };
    let result = await workers.quantize(options.method, problem, space);
    if (form.outliers.length > 0) {
      const values = await checkpoint.readF32(outliersOf(name));
      result = attachOutliers(result, [rows, columns], form.outliers, values, { name, rotated });
    }
    fitted.push({ name, result, error: outputError(original, result.approximation, problem, space) });
  }
  const activation = known ?? clipsFor(fitted.map(({ result }) => result.approximation));
  return new Map(fitted.map(({ name, result, error }) => [name, { result, error, activation }]));
}

function copyStream(stream: Stream): Stream {
  return { ...stream, windows: stream.windows.map((window) => window.slice()) };
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
