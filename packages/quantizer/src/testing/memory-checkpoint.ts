// A small checkpoint in memory for tests: pseudo-random weights of a given architecture, any value replaceable.
import { listTensors } from '@duobit/core';
import { type Architecture, type AssetRole, DuobitError, sha256, toHex } from '@duobit/format';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

export const SMALL_ARCHITECTURE: Architecture = {
  family: 'llama',
  vocabularySize: 50,
  hiddenSize: 24,
  intermediateSize: 40,
  blockCount: 2,
  headCount: 3,
  kvHeadCount: 1,
  headSize: 8,
  contextLength: 64,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: false,
};

/** Deterministic values, roughly normal with standard deviation 0.05. */
export function makeWeights(count: number, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  let state = (seed * 2_654_435_761) >>> 0;
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let draw = 0; draw < 4; draw++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      sum += state / 2 ** 32 - 0.5;
    }
    values[i] = sum * 0.0866;
  }
  return values;
}

export interface MemoryCheckpoint extends Checkpoint {
  /** The tensors themselves, to change before they are read. */
  readonly tensors: Map<string, Float32Array<ArrayBuffer>>;
}

export function makeMemoryCheckpoint(
  architecture: Architecture = SMALL_ARCHITECTURE,
  assets: Partial<Record<AssetRole, Uint8Array<ArrayBuffer>>> = {},
): MemoryCheckpoint {
  const specs = listTensors(architecture);
  const shapes = new Map(specs.map((spec) => [spec.name, spec.shape]));
  const tensors = new Map(
    specs.map(({ name, shape }, index) => [
      name,
      makeWeights(
        shape.reduce((product, size) => product * size, 1),
        index + 1,
      ),
    ]),
  );
  const find = (name: string) => {
    const values = tensors.get(name);
    const shape = shapes.get(name);
    if (!values || !shape) {
      throw new DuobitError('CHECKPOINT_TENSOR_UNKNOWN', 'no such tensor', { where: name });
    }
    return { values, shape };
  };
  const bytesOf = (values: Float32Array) => new Uint8Array(values.buffer.slice(0)) as Uint8Array<ArrayBuffer>;
  const describe = (name: string) => ({
    name,
    shape: find(name).shape,
    encoding: { kind: 'f32' } as const,
    activation: null,
  });
  return {
    kind: 'huggingface',
    name: 'memory',
    path: 'memory',
    architecture,
    specialTokens: { bos: null, eos: [1], pad: null, addBos: false },
    tensorNames: specs.map((spec) => spec.name),
    tensors,
    tensorInfo: describe,
    readTensor: async (name) => ({ info: describe(name), planes: { dense: bytesOf(find(name).values) } }),
    readRows: async (name, start, end) => {
      const { values, shape } = find(name);
      const columns = shape.at(-1)!;
      return values.slice(start * columns, end * columns);
    },
    readF32: async (name) => find(name).values.slice(),
    weightsSha256: async () => {
      const all = [...tensors.keys()].sort().map((name) => bytesOf(tensors.get(name)!));
      return toHex(await sha256(new Uint8Array(await new Blob(all).arrayBuffer())));
    },
    readAsset: async (role) => assets[role] ?? null,
    close: async () => {},
  };
}
