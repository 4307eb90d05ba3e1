// What checkpoints that are made of another have in common: most is passed on, some tensors are given as changed f32.
import type { TensorData } from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';

/** The members of a checkpoint, to be replaced where they differ; a spread would lose the methods of a class. */
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

export interface Change {
  /** Whether a tensor is another than the given checkpoint's. */
  changes(name: string): boolean;
  /** Of a tensor that is; in f32. */
  tensorInfo(name: string): TensorData['info'];
  readRows: Checkpoint['readRows'];
}

/** A checkpoint some of whose matrices are made row by row of another's. */
export function deriveCheckpoint(given: Checkpoint, change: Change): Checkpoint {
  const readF32: Checkpoint['readF32'] = (name) =>
    change.changes(name) ? change.readRows(name, 0, change.tensorInfo(name).shape[0]!) : given.readF32(name);
  return {
    ...delegate(given),
    tensorInfo: (name) => (change.changes(name) ? change.tensorInfo(name) : given.tensorInfo(name)),
    readRows: (name, start, end) =>
      change.changes(name) ? change.readRows(name, start, end) : given.readRows(name, start, end),
    readF32,
    async readTensor(name) {
      if (!change.changes(name)) return given.readTensor(name);
      const values = await readF32(name);
      return { info: change.tensorInfo(name), planes: { dense: new Uint8Array(values.buffer) } };
    },
  };
}
