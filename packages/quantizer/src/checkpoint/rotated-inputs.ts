// A checkpoint whose blocks' linear layers read rotated inputs: the weights W become W R, and the plan rotates each input
// before its layers (docs/format.md, "Input rotations"; the online rotations of QuaRot, Ashkboos et al. 2024). The function is
// the same. Unlike rotated-checkpoint.ts nothing but linear layers changes, and every input is rotated, whatever comes before.
import { listTensors } from '@duobit/core';
import { rotateInput, type TensorData } from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';
import { delegate } from './parted-checkpoint.ts';

export function rotateInputs(checkpoint: Checkpoint): Checkpoint {
  const linear = new Set(
    listTensors(checkpoint.architecture).flatMap(({ name, kind }) => (kind === 'linear' ? [name] : [])),
  );
  const tensorInfo = (name: string): TensorData['info'] => {
    const info = checkpoint.tensorInfo(name);
    return linear.has(name) ? { ...info, encoding: { kind: 'f32' }, inputRotation: 'hadamard' } : info;
  };
  const readRows: Checkpoint['readRows'] = async (name, start, end) => {
    const values = await checkpoint.readRows(name, start, end);
    if (!linear.has(name)) return values;
    const columns = checkpoint.tensorInfo(name).shape[1]!;
    const exact = new Float64Array(columns);
    for (let at = 0; at < values.length; at += columns) {
      exact.set(values.subarray(at, at + columns));
      rotateInput(exact);
      values.set(exact, at);
    }
    return values;
  };
  const readF32: Checkpoint['readF32'] = (name) => {
    const { shape } = checkpoint.tensorInfo(name);
    return readRows(name, 0, shape.length === 1 ? 1 : shape[0]!);
  };
  return {
    ...delegate(checkpoint),
    tensorInfo,
    readRows,
    readF32,
    async readTensor(name) {
      if (!linear.has(name)) return checkpoint.readTensor(name);
      const values = await readF32(name);
      return { info: tensorInfo(name), planes: { dense: new Uint8Array(values.buffer) } };
    },
  };
}
