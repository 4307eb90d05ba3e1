// GPTQ (Frantar et al. 2022, arXiv 2210.17323): column by column to the nearest point of a min-max grid, each error spread over
// the columns that follow.
import { errorInBlock, type Workspace } from '../../linalg/index.ts';
import type { LayerMethod, LayerResult } from '../layer-method.ts';
import { type ColumnBlock, prepareLayer, type QuantizedBlock, quantizeByBlocks } from './blocks.ts';
import { fitGrid, gridBytes } from './grid.ts';

/**
 * GPTQ at 2, 3 or 4 bits as the official code does it with groups of 128 and neither `act-order` nor `static-groups`: a
 * group's grid is found when its first column is reached, on weights that carry the corrections of the groups before.
 * Damping 1 %. Stored form: `gridBytes`.
 */
export function createGptqMethod(bits: number): LayerMethod {
  return {
    name: `gptq-${bits}`,
    quantize(problem, space): LayerResult {
      const layer = prepareLayer(problem, space);
      const approximation = quantizeByBlocks(layer, space, (block) => quantizeBlock(block, bits, space));
      return { approximation, bytes: gridBytes(layer.rows, layer.columns, bits), packed: null };
    },
  };
}

function quantizeBlock(block: ColumnBlock, bits: number, space: Workspace): QuantizedBlock {
  const { name, rows, first, width, values, u } = block;
  const count = 2 ** bits;
  const levels = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    const { scale, zero } = fitGrid(values, row * width, width, bits, { name, row, column: first });
    for (let q = 0; q < count; q++) levels[row * count + q] = scale * (q - zero);
  }
  const { codes, errors } = errorInBlock(space, { values }, { values: u }, levels, rows, width);
  const approximation = Float32Array.from(codes, (code, i) => levels[Math.floor(i / width) * count + code]!);
  return { approximation, errors };
}
