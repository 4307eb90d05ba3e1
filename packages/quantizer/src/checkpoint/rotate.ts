// The rotations by name.
import type { RotationKind } from '../options.ts';
import type { Checkpoint } from './checkpoint.ts';
import { rotateCheckpoint } from './rotated-checkpoint.ts';
import { rotateInputs } from './rotated-inputs.ts';

/** Dimensions in a block of 'blocks': what divides most hidden sizes. */
const BLOCK = 64;

/** The checkpoint with the same function, rotated as asked. Closing the given one is still the caller's. */
export function rotate(checkpoint: Checkpoint, kind: RotationKind): Checkpoint {
  switch (kind) {
    case 'none':
      return checkpoint;
    case 'inputs':
      return rotateInputs(checkpoint);
    default:
      return rotateCheckpoint(checkpoint, kind === 'full' ? 'full' : BLOCK);
  }
}
