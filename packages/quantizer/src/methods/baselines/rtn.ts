// Round to nearest: every weight to the nearest point of its group's min-max grid. Calibration is not looked at.
import type { LayerMethod, LayerResult } from '../layer-method.ts';
import { BLOCK, checkWeights } from './blocks.ts';
import { fitGrid, gridBytes, roundToGrid } from './grid.ts';

/**
 * RTN at `bits` bits with GPTQ's quantizer: asymmetric, by row and group of 128 columns. Stored form: `gridBytes`.
 */
export function createRtnMethod(bits: number): LayerMethod {
  return {
    name: `rtn-${bits}`,
    quantize(problem): LayerResult {
      checkWeights(problem);
      const { name, rows, columns, weights } = problem;
      const approximation = new Float32Array(rows * columns);
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column += BLOCK) {
          const start = row * columns + column;
          const count = Math.min(BLOCK, columns - column);
          const grid = fitGrid(weights, start, count, bits, { name, row, column });
          for (let i = start; i < start + count; i++) approximation[i] = roundToGrid(weights[i]!, grid);
        }
      return { approximation, bytes: gridBytes(rows, columns, bits), packed: null };
    },
  };
}
