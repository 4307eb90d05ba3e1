// Tensors with outlier columns, parted for plans.
import {
  buildPlan,
  createModel,
  createRandom,
  createReferenceBackend,
  outliersOf,
  readOutlierColumns,
  SLOTS,
  splitOutliers,
} from '@duobit/core';
import {
  decodeActivations,
  decodeLayerWeights,
  decodeTensor,
  quantizeActivations,
  rotateInput,
  type TensorData,
} from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { drawActivations } from '../src/random-values.ts';
import { makeTinyModel, type TinyModel } from '../src/tiny-model.ts';

const source = makeTinyModel({ linear: 'w11-outlier', seed: 5 });
const q = 'model.layers.0.self_attn.q_proj.weight';

/** The model with another outlier index in one tensor. */
const withIndex = (index: Uint8Array<ArrayBuffer>): TinyModel => ({
  ...source,
  readTensor: async (name) => {
    const data = await source.readTensor(name);
    return name === q ? { ...data, planes: { ...data.planes, 'outlier-index': index } } : data;
  },
});
const words = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);

describe('readOutlierColumns', () => {
  it('gives the columns of tensors that have some', async () => {
    const outliers = await readOutlierColumns(source);
    expect(outliers(q)).toEqual([0, 32, 63]);
    expect(outliers('model.norm.weight')).toEqual([]);
  });

  it('reads no more than the index where the source can', async () => {
    const asked: string[] = [];
    const outliers = await readOutlierColumns({
      ...source,
      readTensor: async () => Promise.reject(new Error('a whole tensor was read')),
      readPlane: async (name, role) => {
        asked.push(role);
        return (await source.readTensor(name)).planes[role]!;
      },
    });
    expect(outliers(q)).toEqual([0, 32, 63]);
    expect(new Set(asked)).toEqual(new Set(['outlier-index']));
  });

  it.each([
    ['beyond the last', words(0, 32, 64)],
    ['twice', words(0, 32, 32)],
    ['not in order', words(32, 0, 63)],
    ['too few', words(0, 32)],
  ])('refuses columns %s', async (_, index) => {
    await expect(readOutlierColumns(withIndex(index))).rejects.toMatchObject({ code: 'OUTLIER_INDEX' });
  });
});

describe('splitOutliers', () => {
  const parts = async (read: (name: string) => Promise<TensorData>) => [
    await read(q),
    await read(outliersOf(q)),
  ];

  it('parts a tensor in two that are its values together, read once', async () => {
    let reads = 0;
    const [bits, outliers] = await parts(
      splitOutliers(async (name) => {
        reads += 1;
        return source.readTensor(name);
      }),
    );
    expect(reads).toBe(1);
    expect([bits!.info.encoding.kind, outliers!.info.encoding.kind]).toEqual(['w11', 'int8']);
    const [whole, rest, taken] = [
      decodeTensor(await source.readTensor(q)),
      decodeTensor(bits!),
      decodeTensor(outliers!),
    ];
    whole.forEach((value, at) => {
      const c = [0, 32, 63].indexOf(at % 64);
      expect(value).toBe(c < 0 ? rest[at] : taken[3 * Math.floor(at / 64) + c]);
    });
  });

  it('gives the parts in any order, and other tensors as they are', async () => {
    const [bits, outliers] = await parts(splitOutliers((name) => source.readTensor(name)));
    const read = splitOutliers((name) => source.readTensor(name));
    expect(await read(outliersOf(q))).toEqual(outliers);
    expect(await read(q)).toEqual(bits);
    expect(await read('model.norm.weight')).toBe(await source.readTensor('model.norm.weight'));
  });
});

it('loading counts tensors of the model, not their parts', async () => {
  const seen: string[] = [];
  const model = await createModel(source, createReferenceBackend(), {
    tokenizer: false,
    onLoad: (loaded, total) => seen.push(`${loaded}/${total}`),
  });
  expect(seen.at(-1)).toBe(`${source.tensorNames.length}/${source.tensorNames.length}`);
  await model.dispose();
});

describe('a layer with outlier columns computes what the format says [OUTL-1]', () => {
  const gate = 'model.layers.0.mlp.gate_proj.weight';

  it.each([
    ['a4', false],
    ['a4', true],
    ['f16', false],
    ['f16', true],
  ] as const)('activations %s, rotated %s', async (activations, rotated) => {
    const model = makeTinyModel({ linear: 'w11-outlier', seed: 6, rotated: () => rotated });
    const plan = buildPlan(model, {
      section: { block: 0 },
      activations,
      outliers: await readOutlierColumns(model),
    });
    const program = await createReferenceBackend().prepare(
      plan,
      splitOutliers((name) => model.readTensor(name)),
      { capacity: 1, maxRows: 1 },
    );
    await program.write(SLOTS.residual, drawActivations(createRandom(7), 64));
    await program.run({ rows: 1, position: 0, logits: 'none' });
    const x = await program.read(SLOTS.mlpNormed);
    const y = await program.read(SLOTS.gate);

    const { info, planes } = await model.readTensor(gate);
    const outliers = [0, 32, 63];
    // Without its last planes and its rotation, the tensor is the W(1+1) of its bit planes.
    const bits = decodeTensor({
      info: { ...info, encoding: { kind: 'w11', groupSize: 64, offsets: true } },
      planes,
    });
    const own = decodeLayerWeights({
      info: { ...info, inputRotation: rotated ? 'hadamard' : undefined },
      planes,
    });
    const input = x.map((value, k) => (outliers.includes(k) ? 0 : value));
    if (rotated) rotateInput(input);
    const coded =
      activations === 'a4'
        ? decodeActivations(quantizeActivations(input, info.activation!), info.activation!)
        : input;
    const products = (counts: (k: number) => boolean) =>
      Array.from(y, (_, n) => {
        let sum = 0;
        for (let k = 0; k < 64; k++) if (counts(k)) sum += bits[n * 64 + k]! * coded[k]!;
        for (const k of outliers) sum += own[n * 64 + k]! * x[k]!;
        return sum;
      });
    for (const [n, value] of products(() => true).entries()) expect(y[n]).toBeCloseTo(value, 5);
    // Bits of outlier columns stand for levels, which count where 0 has a code that is not 0. [OUTL-2]
    const apart = products((k) => !outliers.includes(k)).some((value, n) => Math.abs(value - y[n]!) > 1e-3);
    expect(apart).toBe(rotated || activations === 'a4');
  });
});
