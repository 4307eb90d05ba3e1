// A checkpoint whose blocks' linear layers read some columns of their inputs apart, unquantized: the outlier channels of the
// W(1+1)A(1x4) paper. A layer is then two matrices: `name` with zeros in those columns, and `outliersOf(name)` [N, C].
import { tensorOf } from '@duobit/core';
import type { Checkpoint } from './checkpoint.ts';
import { deriveCheckpoint } from './derived-checkpoint.ts';

/** The outlier columns of a linear weight, ascending; none for other tensors. */
export type OutlierColumns = (weight: string) => readonly number[];

export const NO_OUTLIERS: OutlierColumns = () => [];

/** @param columnsOf equal for weights that read the same input */
export function partCheckpoint(checkpoint: Checkpoint, columnsOf: OutlierColumns): Checkpoint {
  return deriveCheckpoint(checkpoint, {
    changes: (name) => columnsOf(tensorOf(name)).length > 0,
    tensorInfo(name) {
      const weight = tensorOf(name);
      const info = checkpoint.tensorInfo(weight);
      const shape = name === weight ? info.shape : [info.shape[0]!, columnsOf(weight).length];
      return { ...info, name, shape, encoding: { kind: 'f32' } };
    },
    async readRows(name, start, end) {
      const weight = tensorOf(name);
      const values = await checkpoint.readRows(weight, start, end);
      const outliers = columnsOf(weight);
      const columns = checkpoint.tensorInfo(weight).shape[1]!;
      if (name !== weight)
        return Float32Array.from({ length: (end - start) * outliers.length }, (_, i) => {
          return values[Math.floor(i / outliers.length) * columns + outliers[i % outliers.length]!]!;
        });
      for (let row = 0; row < end - start; row++)
        for (const column of outliers) values[row * columns + column] = 0;
      return values;
    },
  });
}
