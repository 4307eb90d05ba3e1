// A checkpoint whose residual stream and attention values are rotated, with the rotations folded into the weights: the same
// function, computed on activations without outliers (QuaRot, Ashkboos et al. 2024, arXiv 2404.00456, section 4; R1 and R2 of
// SpinQuant, Liu et al. 2024). Nothing is added to inference.
//
// Gains of norms go into the layers behind them, after which a norm commutes with a rotation. A tied head carries the final
// norm's gain, which the embedding must not: it becomes a tensor of its own.
import { LLAMA } from '@duobit/core';
import { blockWeights, DuobitError, type TensorData } from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';
import { delegate } from './derived-checkpoint.ts';
import { createRotation, type Rotation } from './rotation.ts';

/** Of the signs; part of what a quantization is. */
const SEED = 2404_00456;

/** What folding does to a tensor, in this order. */
interface Fold {
  /** The tensor of the wrapped checkpoint that it is made of. */
  readonly from: string;
  /** A norm whose gain its columns take. */
  readonly gain?: string;
  /** Rotates the columns of its rows, each part of them that is as long as the rotation. */
  readonly columns?: Rotation;
  /** Rotates its rows. */
  readonly rows?: Rotation;
}

/**
 * @param block 'full' mixes all dimensions; a number rotates blocks of at most so many, a power of two
 * @throws nothing by itself; reading throws what the wrapped checkpoint throws
 */
export function rotateCheckpoint(checkpoint: Checkpoint, block: 'full' | number): Checkpoint {
  const { architecture } = checkpoint;
  const size = block === 'full' ? Number.POSITIVE_INFINITY : block;
  const residual = createRotation(architecture.hiddenSize, SEED, size);
  const value = createRotation(architecture.headSize, SEED + 1, size);
  const folds = listFolds(checkpoint, residual, value);
  const norms = new Set([LLAMA.finalNorm, ...listNorms(architecture.blockCount)]);
  let latest: { name: string; values: Promise<Float32Array<ArrayBuffer>> } | null = null;

  const fold = async (name: string): Promise<Float32Array<ArrayBuffer>> => {
    if (norms.has(name)) return new Float32Array(architecture.hiddenSize).fill(1);
    const plan = folds.get(name);
    if (!plan) return checkpoint.readF32(name);
    const values = await checkpoint.readF32(plan.from);
    const columns = checkpoint.tensorInfo(plan.from).shape[1]!;
    const rows = values.length / columns;
    const gain = plan.gain === undefined ? null : await checkpoint.readF32(plan.gain);
    for (let row = 0; row < rows; row++) {
      const start = row * columns;
      if (gain) for (let j = 0; j < columns; j++) values[start + j]! *= gain[j]!;
      if (plan.columns)
        for (let j = 0; j < columns; j += plan.columns.size) plan.columns.apply(values, start + j, 1);
    }
    if (plan.rows)
      for (let first = 0; first < rows; first += plan.rows.size)
        for (let j = 0; j < columns; j++) plan.rows.apply(values, first * columns + j, columns);
    return values;
  };
  // Rows are asked for in order, slice by slice: the tensor they are of is folded once.
  const folded = (name: string): Promise<Float32Array<ArrayBuffer>> => {
    if (latest?.name !== name) latest = { name, values: fold(name) };
    return latest.values;
  };
  const tensorInfo = (name: string): TensorData['info'] => ({
    ...checkpoint.tensorInfo(folds.get(name)?.from ?? name),
    name,
    encoding: { kind: 'f32' },
  });

  return {
    ...delegate(checkpoint),
    architecture: { ...architecture, tiedHead: false },
    tensorNames: architecture.tiedHead ? [...checkpoint.tensorNames, LLAMA.head] : checkpoint.tensorNames,
    tensorInfo,
    async readTensor(name) {
      const values = await fold(name);
      return { info: tensorInfo(name), planes: { dense: new Uint8Array(values.buffer) } };
    },
    async readRows(name, start, end) {
      const { shape } = tensorInfo(name);
      const columns = shape.at(-1)!;
      const rows = shape.length === 1 ? 1 : shape[0]!;
      if (
        !(
          Number.isSafeInteger(start) &&
          Number.isSafeInteger(end) &&
          start >= 0 &&
          start <= end &&
          end <= rows
        )
      )
        throw new DuobitError('CHECKPOINT_ROW_RANGE', `rows ${start} to ${end} of ${rows} do not exist`, {
          source: checkpoint.name,
          where: name,
          remedy: 'Ask for rows inside the tensor',
        });
      return (await folded(name)).slice(start * columns, end * columns);
    },
    readF32: fold,
  };
}

function listFolds(checkpoint: Checkpoint, residual: Rotation, value: Rotation): Map<string, Fold> {
  const { blockCount, tiedHead } = checkpoint.architecture;
  const head = tiedHead ? LLAMA.embedding : LLAMA.head;
  const folds = new Map<string, Fold>([
    [LLAMA.embedding, { from: LLAMA.embedding, columns: residual }],
    [LLAMA.head, { from: head, gain: LLAMA.finalNorm, columns: residual }],
  ]);
  for (let block = 0; block < blockCount; block++) {
    const { inputNorm, postNorm, q, k, v, o, gate, up, down } = blockWeights(block);
    for (const name of [q, k]) folds.set(name, { from: name, gain: inputNorm, columns: residual });
    folds.set(v, { from: v, gain: inputNorm, columns: residual, rows: value });
    folds.set(o, { from: o, columns: value, rows: residual });
    for (const name of [gate, up]) folds.set(name, { from: name, gain: postNorm, columns: residual });
    folds.set(down, { from: down, rows: residual });
  }
  return folds;
}

function listNorms(blockCount: number): string[] {
  return Array.from({ length: blockCount }, (_, block) => blockWeights(block)).flatMap(
    ({ inputNorm, postNorm }) => [inputNorm, postNorm],
  );
}
