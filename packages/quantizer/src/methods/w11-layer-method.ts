// Stage 1 in full: a W(1+1) layer fitted to the Hessian of its inputs.
//
// Group after group of columns gets its four best levels, weighted by what an error in a column costs; each weight takes
// the nearest level and its error is spread over the columns that follow (GPTQ). Then levels and codes are improved in turns
// against the Hessian of the whole row: least squares for the levels, coordinate descent for the codes.
import {
  descend,
  errorInBlock,
  inverseCholesky,
  refitLevels,
  subtractProduct,
  type Workspace,
} from '../linalg/index.ts';
import { LevelFitter } from '../stages/level-fitter.ts';
import type { LayerMethod, LayerProblem, LayerResult } from './layer-method.ts';
import {
  type Pairing,
  packLevels,
  placesOf,
  type StoredLevels,
  sortFour,
  storeLevels,
} from './w11-levels.ts';

/** Options of `createW11LayerMethod`. */
export interface W11LayerOptions {
  /** Columns that share four levels. */
  readonly groupSize: number;
  /** Store mu: four free levels, or levels symmetric about zero without. */
  readonly offsets: boolean;
  /**
   * Weight of a column's squared error when levels are fitted: 1 / [H^-1]_jj, what the error costs after the columns behind
   * have made up for it (Hassibi & Stork 1993); H_jj, what it costs alone; or 1.
   */
  readonly importance: 'inverse' | 'diagonal' | 'uniform';
  /** The exact optimum by dynamic programming, or expectation-maximization (Lloyd's iterations) from quantiles. */
  readonly fit: 'exact' | 'em';
  readonly pairing: Pairing;
  /** Spread errors over later columns and groups (Frantar et al. 2022). */
  readonly propagate: boolean;
  /** Turns of level refit and coordinate descent; 0 leaves the first pass as it is. */
  readonly turns: number;
  /** Added to the diagonal of H, as a part of its mean. */
  readonly damping: number;
}

/** As the ablation found them best; docs/results/quality.md. */
export const W11_DEFAULTS: W11LayerOptions = {
  groupSize: 128,
  offsets: true,
  importance: 'inverse',
  fit: 'exact',
  pairing: 'nested',
  propagate: true,
  turns: 4,
  damping: 0.01,
};

/** W(1+1), fitted to a layer's inputs; docs/quantization.md, "Stage 1". */
export function createW11LayerMethod(options: W11LayerOptions): LayerMethod {
  const fitter = new LevelFitter(options.groupSize);
  return {
    name: 'w11',
    rowOptions: options,
    quantize: (problem, space) => quantizeLayer(problem, space, options, fitter),
  };
}

function quantizeLayer(
  problem: LayerProblem,
  space: Workspace,
  options: W11LayerOptions,
  fitter: LevelFitter,
): LayerResult {
  const { rows, columns } = problem;
  const { groupSize, offsets, turns } = options;
  const groups = Math.ceil(columns / groupSize);
  const place = { name: problem.name, groups, groupSize };
  const target = problem.weights.slice();
  const hessian = Float64Array.from(problem.hessian);
  const { u, damping, dead } = inverseCholesky(space, hessian, columns, { damping: options.damping });
  for (const column of dead) for (let row = 0; row < rows; row++) target[row * columns + column] = 0;

  const codes = new Uint8Array(rows * columns);
  const levels = new Float32Array(rows * groups * 4);
  firstPass({ ...problem, weights: target }, u, space, options, fitter, { codes, levels });

  if (turns > 0) {
    const quantized = {
      hessian: damped(problem.hessian, columns, damping, dead),
      weights: target,
      codes,
      levels,
      rows,
      columns,
      groupSize,
    };
    for (let turn = 0; turn < turns; turn++) {
      refitLevels(space, quantized, { symmetric: !offsets });
      descend(space, quantized);
    }
    refitLevels(space, quantized, { symmetric: !offsets });
    sortLevels(levels, codes, { rows, columns, groupSize });
    const stored = storeLevels(levels, options, place);
    // Codes are chosen once more, for the levels as they are stored.
    levels.set(stored.levels);
    descend(space, quantized);
    return finish(stored, codes, problem, options);
  }
  const stored = storeLevels(levels, options, place);
  return finish(stored, codes, problem, options);
}

interface Shape {
  readonly rows: number;
  readonly columns: number;
}

/** Levels and codes group by group, errors going to the columns behind. Levels are those that will be stored. */
function firstPass(
  problem: LayerProblem,
  u: Float64Array,
  space: Workspace,
  options: W11LayerOptions,
  fitter: LevelFitter,
  out: { readonly codes: Uint8Array; readonly levels: Float32Array },
): void {
  const { groupSize, offsets, propagate } = options;
  const { rows, columns } = problem;
  const groups = Math.ceil(columns / groupSize);
  const weights = problem.weights.slice();
  const importance = importanceOf(u, problem.hessian, columns, options.importance);
  const fitted = new Float64Array(rows * 4);
  for (let group = 0; group < groups; group++) {
    const first = group * groupSize;
    const width = Math.min(groupSize, columns - first);
    for (let row = 0; row < rows; row++) {
      const four = fitted.subarray(row * 4, row * 4 + 4);
      const start = row * columns + first;
      if (!offsets) fitter.fitSymmetric(weights, start, width, importance, first, four);
      else if (options.fit === 'exact') fitter.fitFree(weights, start, width, importance, first, four);
      else
        fitByLloyd(weights.subarray(start, start + width), importance.subarray(first, first + width), four);
    }
    const { levels } = storeLevels(fitted, options, {
      name: problem.name,
      firstColumn: first,
      groups: 1,
      groupSize,
    });
    const block = propagate ? diagonalBlock(u, columns, first, width) : identity(width);
    const { codes, errors } = errorInBlock(
      space,
      { values: weights, offset: first, stride: columns },
      { values: block },
      levels,
      rows,
      width,
    );
    for (let row = 0; row < rows; row++) {
      out.codes.set(codes.subarray(row * width, (row + 1) * width), row * columns + first);
      out.levels.set(levels.subarray(row * 4, row * 4 + 4), (row * groups + group) * 4);
    }
    const behind = columns - first - width;
    if (propagate && behind > 0)
      subtractProduct(
        space,
        { values: weights, offset: first + width, stride: columns },
        { values: errors },
        { values: u, offset: first * columns + first + width, stride: columns },
        rows,
        behind,
        width,
      );
  }
}

function importanceOf(
  u: Float64Array,
  hessian: Float32Array,
  columns: number,
  kind: W11LayerOptions['importance'],
): Float64Array {
  return Float64Array.from({ length: columns }, (_, j) => {
    const diagonal = j * columns + j;
    if (kind === 'inverse') return 1 / u[diagonal]! ** 2;
    return kind === 'diagonal' ? hessian[diagonal]! : 1;
  });
}

/** Lloyd's iterations for four levels from the quantiles at 1/8, 3/8, 5/8 and 7/8. */
function fitByLloyd(values: Float32Array, importance: Float64Array, levels: Float64Array): void {
  const sorted = values.toSorted();
  for (let c = 0; c < 4; c++) levels[c] = sorted[Math.floor(((2 * c + 1) * sorted.length) / 8)]!;
  for (let iteration = 0; iteration < 50; iteration++) {
    const sums = new Float64Array(4);
    const weights = new Float64Array(4);
    for (let i = 0; i < values.length; i++) {
      let nearest = 0;
      for (let c = 1; c < 4; c++)
        if (Math.abs(values[i]! - levels[c]!) < Math.abs(values[i]! - levels[nearest]!)) nearest = c;
      sums[nearest]! += importance[i]! * values[i]!;
      weights[nearest]! += importance[i]!;
    }
    let moved = false;
    for (let c = 0; c < 4; c++) {
      if (weights[c] === 0) continue;
      const level = sums[c]! / weights[c]!;
      moved ||= level !== levels[c];
      levels[c] = level;
    }
    if (!moved) break;
  }
  levels.sort();
}

function diagonalBlock(u: Float64Array, columns: number, first: number, width: number): Float64Array {
  const block = new Float64Array(width * width);
  for (let j = 0; j < width; j++)
    block.set(u.subarray((first + j) * columns + first, (first + j) * columns + first + width), j * width);
  return block;
}

function identity(width: number): Float64Array {
  const block = new Float64Array(width * width);
  for (let j = 0; j < width; j++) block[j * width + j] = 1;
  return block;
}

/** H with the damping that its factor has, in f32. */
function damped(hessian: Float32Array, columns: number, damping: number, dead: Uint32Array): Float32Array {
  const result = hessian.slice();
  let trace = 0;
  for (let j = 0; j < columns; j++) trace += hessian[j * columns + j]!;
  const live = columns - dead.length;
  const added = live === 0 ? 0 : (damping * trace) / live;
  for (let j = 0; j < columns; j++) result[j * columns + j]! += added;
  for (const j of dead) result[j * columns + j] = 1;
  return result;
}

/** Least squares can make levels cross: puts each four in order, and the codes with them. */
function sortLevels(
  levels: Float32Array,
  codes: Uint8Array,
  { rows, columns, groupSize }: Shape & { readonly groupSize: number },
): void {
  const groups = Math.ceil(columns / groupSize);
  const order = new Uint8Array(levels.length).map((_, i) => i & 3);
  for (let start = 0; start < levels.length; start += 4) sortFour(levels, order, start);
  const place = placesOf(order);
  for (let row = 0, i = 0; row < rows; row++)
    for (let j = 0; j < columns; j++, i++)
      codes[i] = place[(row * groups + Math.floor(j / groupSize)) * 4 + codes[i]!]!;
}

/** `codes` index the ascending levels. */
function finish(
  stored: StoredLevels,
  codes: Uint8Array,
  { rows, columns }: LayerProblem,
  { groupSize, offsets }: W11LayerOptions,
): LayerResult {
  const { planes, approximation } = packLevels(stored, codes, { rows, columns, groupSize });
  const bytes = Object.values(planes).reduce((sum, plane) => sum + plane.length, 0);
  return { approximation, bytes, packed: { encoding: { kind: 'w11', groupSize, offsets }, planes } };
}
