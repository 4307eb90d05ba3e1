// A checkpoint whose blocks' linear layers read some columns of their inputs apart, unquantized: the outlier channels of the
// W(1+1)A(1x4) paper. A layer is then two matrices: `name` with zeros in those columns, and `outliersOf(name)` [N, C].
import { tensorOf } from '@duobit/core';
import type { TensorData } from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';

/** The outlier columns of a linear weight, ascending; none for other tensors. */
export type OutlierColumns = (weight: string) => readonly number[];

export const NO_OUTLIERS: OutlierColumns = () => [];

/** @param columnsOf equal for weights that read the same input */
export function partCheckpoint(checkpoint: Checkpoint, columnsOf: OutlierColumns): Checkpoint {
  const tensorInfo = (name: string): TensorData['info'] => {
    const info = checkpoint.tensorInfo(tensorOf(name));
    if (columnsOf(tensorOf(name)).length === 0) return info;
    const shape = name === tensorOf(name) ? info.shape : [info.shape[0]!, columnsOf(tensorOf(name)).length];
    return { ...info, name, shape, encoding: { kind: 'f32' } };
  };
  const readRows: Checkpoint['readRows'] = async (name, start, end) => {
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
  };
  const readF32: Checkpoint['readF32'] = (name) => {
    const { shape } = tensorInfo(name);
    return readRows(name, 0, shape.length === 1 ? 1 : shape[0]!);
  };
  return {
    ...delegate(checkpoint),
    tensorInfo,
    readRows,
    readF32,
    async readTensor(name) {
      if (columnsOf(tensorOf(name)).length === 0) return checkpoint.readTensor(name);
      const values = await readF32(name);
      return { info: tensorInfo(name), planes: { dense: new Uint8Array(values.buffer) } };
    },
  };
}

/** The members of a checkpoint that a wrapper passes on; a spread would lose the methods of a class. */
export function delegate(checkpoint: Checkpoint): Checkpoint {
  return {
    kind: checkpoint.kind,
    path: checkpoint.path,
    name: checkpoint.name,
    architecture: checkpoint.architecture,
    specialTokens: checkpoint.specialTokens,
    tensorNames: checkpoint.tensorNames,
    tensorInfo: (name) => checkpoint.tensorInfo(name),
    readRows: (name, start, end) => checkpoint.readRows(name, start, end),
    readF32: (name) => checkpoint.readF32(name),
    readTensor: (name) => checkpoint.readTensor(name),
    readAsset: (role) => checkpoint.readAsset(role),
    weightsSha256: (signal) => checkpoint.weightsSha256(signal),
    close: () => checkpoint.close(),
  };
}
