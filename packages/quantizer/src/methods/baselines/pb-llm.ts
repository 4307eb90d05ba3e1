// PB-LLM (Shang et al. 2023, arXiv 2310.00034): the salient tenth of the weights in 8 bits, the rest binary.
import type { LayerMethod, LayerResult } from '../layer-method.ts';
import {
  BLOCK,
  type ColumnBlock,
  type PreparedLayer,
  planeBytes,
  prepareLayer,
  type QuantizedBlock,
  quantizeByBlocks,
  storeF16,
} from './blocks.ts';
import { fitGrid, type Grid, roundToGrid } from './grid.ts';

/** Part of the weights that is binary, as in the paper's tables and in those of BiLLM. */
const BINARY_PART = 0.9;

/** What is fixed before the column loop. */
interface Plan {
  /** [rows, columns], 1 where a weight is salient. */
  readonly salient: Uint8Array;
  /** One a row. */
  readonly grids: readonly Grid[];
  /** Values of binary weights are mean +- alpha, [rows, groups] both. */
  readonly mean: Float32Array;
  readonly alpha: Float32Array;
}

/**
 * PB-LLM as in gptq_pb of its official code, salient by the Hessian metric. Before the column loop: in each group of 128
 * columns, the tenth of the weights of all rows with the largest w^2 / U_jj^2 is salient; a salient weight takes the nearest
 * point of its row's 8-bit min-max grid, any other one the nearer of mean +- alpha of its row and group. Then GPTQ's column loop.
 *
 * That code takes mean and alpha over zeros in place of the salient weights too (and marks it as a problem), which draws both
 * away from what they should be; here they are over the binary weights alone. Its default is one group a row; here groups
 * are 128 columns, as where BiLLM compares.
 *
 * Stored form: a bitmap of a bit a weight that tells salient from binary; a sign bit for each binary weight and a byte
 * for each salient one, without gaps, in order; per row an f16 scale and a zero of a byte; per row and group f16 mean and
 * alpha. About 1 + 0.9 + 0.8 + 32 / 128 = 2.95 bits a weight.
 */
export function createPbLlmMethod(): LayerMethod {
  return {
    name: 'pb-llm',
    quantize(problem, space): LayerResult {
      const layer = prepareLayer(problem, space);
      const { rows, columns } = layer;
      const plan = makePlan(layer, problem.weights);
      const approximation = quantizeByBlocks(layer, space, (block) => quantizeBlock(block, plan, columns));
      const salient = plan.salient.reduce((sum, flag) => sum + flag, 0);
      const binary = Math.ceil((rows * columns - salient) / 8);
      const bytes = planeBytes(rows, columns) + binary + salient + 3 * rows + 4 * plan.mean.length;
      return { approximation, bytes, packed: null };
    },
  };
}

/** @param original weights with those of dead columns, over which the official code takes a row's range */
function makePlan({ name, rows, columns, weights, u }: PreparedLayer, original: Float32Array): Plan {
  const groups = Math.ceil(columns / BLOCK);
  const salient = new Uint8Array(rows * columns);
  const mean = new Float32Array(rows * groups);
  const alpha = new Float32Array(rows * groups);
  for (let group = 0; group < groups; group++) {
    const first = group * BLOCK;
    const end = Math.min(columns, first + BLOCK);
    const saliency = new Float64Array(rows * (end - first));
    for (let row = 0, i = 0; row < rows; row++)
      for (let j = first; j < end; j++, i++)
        saliency[i] = (weights[row * columns + j]! / u[j * columns + j]!) ** 2;
    const threshold = saliency.toSorted()[Math.floor(saliency.length * BINARY_PART)]!;
    for (let row = 0, i = 0; row < rows; row++) {
      const at = row * columns;
      for (let j = first; j < end; j++, i++) if (saliency[i]! > threshold) salient[at + j] = 1;
      let sum = 0;
      let count = 0;
      for (let j = first; j < end; j++)
        if (!salient[at + j]) {
          sum += weights[at + j]!;
          count++;
        }
      const middle = count === 0 ? 0 : sum / count;
      let distance = 0;
      for (let j = first; j < end; j++) if (!salient[at + j]) distance += Math.abs(weights[at + j]! - middle);
      mean[row * groups + group] = storeF16(middle, name, row, first);
      alpha[row * groups + group] = storeF16(count === 0 ? 0 : distance / count, name, row, first);
    }
  }
  const grids = Array.from({ length: rows }, (_, row) =>
    fitGrid(original, row * columns, columns, 8, { name, row, column: 0 }),
  );
  return { salient, grids, mean, alpha };
}

function quantizeBlock(block: ColumnBlock, plan: Plan, columns: number): QuantizedBlock {
  const { rows, first, width, values, u } = block;
  const groups = Math.ceil(columns / BLOCK);
  const approximation = new Float32Array(rows * width);
  const errors = new Float32Array(rows * width);
  const rest = new Float64Array(width);
  for (let row = 0; row < rows; row++) {
    rest.set(values.subarray(row * width, (row + 1) * width));
    const grid = plan.grids[row]!;
    const mean = plan.mean[row * groups + first / BLOCK]!;
    const alpha = plan.alpha[row * groups + first / BLOCK]!;
    for (let j = 0; j < width; j++) {
      const value = rest[j]!;
      const salient = plan.salient[row * columns + first + j]!;
      const quantized = salient ? roundToGrid(value, grid) : value < mean ? mean - alpha : mean + alpha;
      const error = (value - quantized) / u[j * width + j]!;
      approximation[row * width + j] = quantized;
      errors[row * width + j] = error;
      for (let k = j + 1; k < width; k++) rest[k]! -= error * u[j * width + k]!;
    }
  }
  return { approximation, errors };
}
