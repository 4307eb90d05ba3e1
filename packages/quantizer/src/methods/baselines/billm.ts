// BiLLM (Huang et al. 2024, arXiv 2402.04291): salient columns binarized twice, the other weights in two groups by saliency.
import type { LayerMethod, LayerResult } from '../layer-method.ts';
import {
  BLOCK,
  type ColumnBlock,
  planeBytes,
  prepareLayer,
  type QuantizedBlock,
  quantizeByBlocks,
  storeF16,
  withBlockErrors,
} from './blocks.ts';
import { partitionBlock, SALIENT } from './partition.ts';
import { fitRun } from './residual.ts';

/** f16 numbers of a row and block: mean and alpha of two groups, one mean and two alphas of salient columns. */
const SCALES = 7;

/**
 * BiLLM as its official code does it, block of 128 columns by block; `partitionBlock` tells how a block is parted. In every
 * row, each zone is binarized about its own mean, that of the salient columns twice. A block is quantized at once, its
 * errors go to later blocks only.
 *
 * Stored form: two bits a weight, the first its sign, the second its group or, in a salient column, its second sign; a bit a
 * column for which are salient; 7 f16 numbers a row and block. 2 + 7 * 16 / 128 = 2.875 bits a weight. (Counts that give
 * salient weights a group bit as well, which says nothing, come to 2.875 + r with r the part of salient columns.)
 */
export function createBiLlmMethod(): LayerMethod {
  return {
    name: 'billm',
    quantize(problem, space): LayerResult {
      const layer = prepareLayer(problem, space);
      const { rows, columns } = layer;
      const approximation = quantizeByBlocks(layer, space, quantizeBlock);
      const scales = 2 * SCALES * rows * Math.ceil(columns / BLOCK);
      const bytes = 2 * planeBytes(rows, columns) + planeBytes(1, columns) + scales;
      return { approximation, bytes, packed: null };
    },
  };
}

function quantizeBlock(block: ColumnBlock): QuantizedBlock {
  const { name, rows, first, width, values } = block;
  const { zones } = partitionBlock(block, false);
  const approximation = new Float32Array(rows * width);
  const run = new Float64Array(width);
  const fit = new Float64Array(4);
  for (let start = 0, row = 0; row < rows; start += width, row++)
    for (let zone = 0; zone <= SALIENT; zone++) {
      let count = 0;
      for (let i = start; i < start + width; i++) if (zones[i] === zone) run[count++] = values[i]!;
      fitRun(run, 0, count, zone === SALIENT ? 2 : 1, fit);
      const [mean1, alpha1, mean2, alpha2] = [fit[0]!, fit[1]!, fit[2]!, fit[3]!];
      const mean = storeF16(mean1 + mean2, name, row, first);
      const outer = storeF16(alpha1, name, row, first);
      const inner = storeF16(alpha2, name, row, first);
      for (let i = start; i < start + width; i++) {
        if (zones[i] !== zone) continue;
        const rest = values[i]! - mean1;
        const second = (rest < 0 ? rest + alpha1 : rest - alpha1) - mean2;
        approximation[i] = mean + (rest < 0 ? -outer : outer) + (second < 0 ? -inner : inner);
      }
    }
  return withBlockErrors(block, approximation);
}
