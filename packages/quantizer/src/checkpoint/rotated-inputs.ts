// A checkpoint whose blocks' linear layers read rotated inputs: the weights W become W R, and the plan rotates each input
// before its layers (docs/format.md, "Input rotations"; the online rotations of QuaRot, Ashkboos et al. 2024). The function is
// the same. Unlike rotated-checkpoint.ts nothing but linear layers changes, and every input is rotated, whatever comes before.
import { listTensors } from '@duobit/core';
import { rotateInput } from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';
import { deriveCheckpoint } from './derived-checkpoint.ts';

export function rotateInputs(checkpoint: Checkpoint): Checkpoint {
  const linear = new Set(
    listTensors(checkpoint.architecture).flatMap(({ name, kind }) => (kind === 'linear' ? [name] : [])),
  );
  return deriveCheckpoint(checkpoint, {
    changes: (name) => linear.has(name),
    tensorInfo: (name) => ({
      ...checkpoint.tensorInfo(name),
      encoding: { kind: 'f32' },
      inputRotation: 'hadamard',
    }),
    async readRows(name, start, end) {
      const values = await checkpoint.readRows(name, start, end);
      const columns = checkpoint.tensorInfo(name).shape[1]!;
      const exact = new Float64Array(columns);
      for (let at = 0; at < values.length; at += columns) {
        exact.set(values.subarray(at, at + columns));
        rotateInput(exact);
        values.set(exact, at);
      }
      return values;
    },
  });
}
