// A checkpoint as it will be quantized: rotated, and with outlier columns apart, as asked.
import type { RotationKind } from '../options.ts';
import type { Checkpoint } from './checkpoint.ts';
import { NO_OUTLIERS, type OutlierColumns, partCheckpoint } from './parted-checkpoint.ts';
import { rotateCheckpoint } from './rotated-checkpoint.ts';
import { rotateInputs } from './rotated-inputs.ts';

/** Dimensions in a block of 'blocks': what divides most hidden sizes. */
const BLOCK = 64;

/** A checkpoint whose function is the given one's, in the form that is quantized. */
export interface PreparedCheckpoint {
  /** The same function; closing the given one is still the caller's. */
  readonly checkpoint: Checkpoint;
  readonly outliers: OutlierColumns;
}

/**
 * Rotates a checkpoint as options ask for, and chooses outlier columns.
 * @param choose the outlier columns of a checkpoint's inputs before they are rotated; leave it out for none
 */
export async function prepareCheckpoint(
  given: Checkpoint,
  rotation: RotationKind,
  choose?: (checkpoint: Checkpoint) => Promise<OutlierColumns>,
): Promise<PreparedCheckpoint> {
  const folded =
    rotation === 'full' || rotation === 'blocks'
      ? rotateCheckpoint(given, rotation === 'full' ? 'full' : BLOCK)
      : given;
  const outliers = choose ? await choose(folded) : NO_OUTLIERS;
  const parted = choose ? partCheckpoint(folded, outliers) : folded;
  return { checkpoint: rotation === 'inputs' ? rotateInputs(parted) : parted, outliers };
}
