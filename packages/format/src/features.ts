// What a model needs of those who read it: incompatible-feature bits and a minor version. A writer names just these, so
// that older readers read whatever they can. docs/format.md, "Preamble" and "Evolution".
import type { Manifest } from './manifest.ts';

type Needs = Pick<Manifest, 'dataFiles' | 'tensors'>;

/** Of the first version with input rotations. */
const MINOR_INPUT_ROTATIONS = 1;

interface Feature {
  readonly bit: bigint;
  readonly what: string;
  /** How many parts of the model need it. */
  readonly count: (model: Needs) => number;
}

const FEATURES: readonly Feature[] = [
  { bit: 1n, what: 'data files', count: ({ dataFiles }) => dataFiles.length },
  { bit: 2n, what: 'tensors for a rotated input', count: countRotated },
];

/** Features that a reader must know to read the file at all. */
export const KNOWN_INCOMPATIBLE = FEATURES.reduce((bits, { bit }) => bits | bit, 0n);

function countRotated({ tensors }: Needs): number {
  let count = 0;
  for (const { inputRotation } of tensors) if (inputRotation !== undefined) count += 1;
  return count;
}

export function neededFeatures(model: Needs): bigint {
  return FEATURES.reduce((bits, { bit, count }) => (count(model) > 0 ? bits | bit : bits), 0n);
}

/** The lowest minor version that has all fields which the model uses. */
export function neededMinor(model: Needs): number {
  return countRotated(model) > 0 ? MINOR_INPUT_ROTATIONS : 0;
}

/** For each feature that is named and not needed, or needed and not named, a sentence that says so. */
export function listFeatureMismatches(named: bigint, model: Needs): string[] {
  return FEATURES.flatMap(({ bit, what, count }) => {
    const isNamed = (named & bit) !== 0n;
    const found = count(model);
    return isNamed === found > 0
      ? []
      : [`there are ${found} ${what}, but the feature bit is ${Number(isNamed)}`];
  });
}
