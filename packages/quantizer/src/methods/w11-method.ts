// Stage 1: every group of a row gets its four best levels, each weight the nearest of the levels as they are stored.
import { LevelFitter } from '../stages/level-fitter.ts';
import type { EncodedRows, RowBlock, TensorMethod } from './tensor-method.ts';
import { packLevels, storeLevels } from './w11-levels.ts';

/**
 * W(1+1) by independent groups: the exact four-level fit, `alpha` and `mu` rounded to f16, then nearest-level codes.
 *
 * @param options.groupSize Columns in a group; the last group of a row may be short.
 * @param options.offsets Four free levels with `mu`, or levels symmetric about zero without.
 */
export function createW11Method(options: { groupSize: number; offsets: boolean }): TensorMethod {
  const { groupSize, offsets } = options;
  const fitter = new LevelFitter(groupSize);

  return {
    encoding: { kind: 'w11', groupSize, offsets },
    encode({ name, firstRow, rows, columns, values, importance }: RowBlock): EncodedRows {
      const groups = Math.ceil(columns / groupSize);
      const fitted = new Float64Array(rows * groups * 4);
      for (let group = 0; group < rows * groups; group++) {
        const column = (group % groups) * groupSize;
        const count = Math.min(groupSize, columns - column);
        const start = Math.floor(group / groups) * columns + column;
        const four = fitted.subarray(group * 4, group * 4 + 4);
        if (offsets) fitter.fitFree(values, start, count, importance, column, four);
        else fitter.fitSymmetric(values, start, count, importance, column, four);
      }
      const stored = storeLevels(
        fitted,
        { offsets, pairing: 'nested' },
        { name, firstRow, groups, groupSize },
      );
      const indices = findNearest(values, stored.levels, { rows, columns, groupSize });
      return packLevels(stored, indices, { rows, columns, groupSize });
    },
  };
}

/** The index of the nearest of each group's ascending levels; a weight halfway between two takes the lower one. */
function findNearest(
  values: Float32Array,
  levels: Float32Array,
  {
    rows,
    columns,
    groupSize,
  }: { readonly rows: number; readonly columns: number; readonly groupSize: number },
): Uint8Array {
  const groups = Math.ceil(columns / groupSize);
  const indices = new Uint8Array(values.length);
  for (let group = 0; group < rows * groups; group++) {
    const between = (i: number): number => (levels[group * 4 + i]! + levels[group * 4 + i + 1]!) / 2;
    const [split0, split1, split2] = [between(0), between(1), between(2)];
    const row = Math.floor(group / groups) * columns;
    const end = row + Math.min(columns, ((group % groups) + 1) * groupSize);
    for (let i = row + (group % groups) * groupSize; i < end; i++) {
      const value = values[i]!;
      indices[i] = value <= split1 ? (value <= split0 ? 0 : 1) : value <= split2 ? 2 : 3;
    }
  }
  return indices;
}
