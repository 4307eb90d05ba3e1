import {
  type CompareOptions,
  type Container,
  type ContainerDifference,
  type ContainerSpec,
  compareContainers,
  contentDigest,
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  decodeLayerWeights,
  decodeTensor,
  LIMITS,
  openContainer,
  type Planes,
  packDense,
  packW11Outlier,
} from '@duobit/format';
import { beforeAll, describe, expect, it } from 'vitest';
import { rehashHeader } from '../test/forge.ts';
import { ARCHITECTURE, ASSETS, listTensors, makeSpec, makeWeights, writeSample } from '../test/sample.ts';
import { compareFields } from './diff.ts';

const Q_PROJ = 'model.layers.1.self_attn.q_proj.weight';
const NORM = 'model.norm.weight';
const LICENSE = { role: 'license', mediaType: 'text/plain', bytes: new Uint8Array([65]) } as const;
/** A tensor that the architecture does not ask for. */
const EXTRA = {
  name: 'extra.a.weight',
  shape: [6, 40],
  encoding: { kind: 'f32' },
  activation: null,
} as const;

const COUNT = listTensors().length + 1;

let base: Container;
let weights: ReadonlyMap<string, Planes>;

beforeAll(async () => {
  weights = new Map([
    ...makeWeights(makeSpec(), 1),
    [
      EXTRA.name,
      packDense(
        Float32Array.from({ length: 240 }, (_, i) => i / 7),
        'f32',
      ),
    ],
  ]);
  base = await write();
});

/** The sample with EXTRA, and changes to the specification and to planes. */
async function write(
  change: Partial<ContainerSpec> = {},
  planes: Readonly<Record<string, Planes>> = {},
): Promise<Container> {
  const spec = makeSpec({ tensors: [...listTensors(), EXTRA], kvCache: null, ...change });
  const sink = createMemorySink();
  const writer = await createContainerWriter(spec, sink);
  for (const name of writer.order) await writer.writeTensor(name, planes[name] ?? weights.get(name)!);
  await writer.finish();
  return openContainer(createMemorySource(sink.bytes()));
}

/** Compares with the base, and sees to it that 'the same model' means the same content digest. */
async function compare(other: Container, options?: CompareOptions): Promise<ContainerDifference> {
  const difference = await compareContainers(base, other, options);
  const [a, b] = [await contentDigest(base), await contentDigest(other)];
  expect(difference.verdict !== 'different').toBe(a.sha256 === b.sha256);
  return difference;
}

describe('compareContainers', () => {
  it('knows the same file', async () => {
    const difference = await compare(await write());
    expect(difference).toEqual({
      verdict: 'identical',
      model: [],
      assets: [],
      metadata: [],
      layout: [],
      tensors: { equal: COUNT, renamed: [], removed: [], added: [], changed: [] },
    });
  });

  it('knows the same content under another header', async () => {
    const { bytes } = await writeSample();
    const left = await openContainer(createMemorySource(bytes));
    // A minor version of the future, with the same fields: another header hash, and nothing else.
    const changed = bytes.slice();
    new DataView(changed.buffer).setUint16(18, LIMITS.formatMinor + 1, true);
    const later = await openContainer(createMemorySource(await rehashHeader(changed)));
    const difference = await compareContainers(left, later);
    expect(difference.verdict).toBe('repacked');
    expect(difference.layout).toEqual([
      { field: 'formatVersion', a: '1.0', b: `1.${LIMITS.formatMinor + 1}` },
    ]);
    expect(difference.tensors.equal).toBe(COUNT - 1);
  });

  it('tells words about the model from the model', async () => {
    const kvCache = { keyBits: 8, valueBits: 4, groupSize: 64, symmetric: true } as const;
    const difference = await compare(
      await write({
        assets: [{ ...ASSETS[0]!, mediaType: 'text/jinja' }, ASSETS[1]!],
        kvCache,
        metadata: { a: 'other', new: '' },
        provenance: { ...makeSpec().provenance, recipe: '{}' },
      }),
    );
    expect(difference.verdict).toBe('metadata');
    expect(difference.metadata).toEqual([
      { field: 'kvCache', a: null, b: kvCache },
      { field: 'mediaTypes.chat-template', a: 'text/plain', b: 'text/jinja' },
      { field: 'metadata.10', a: 'ten', b: undefined },
      { field: 'metadata.9', a: 'nine', b: undefined },
      { field: 'metadata.a', a: '', b: 'other' },
      { field: 'metadata.new', a: undefined, b: '' },
      { field: 'metadata.z.last', a: 'ümläut', b: undefined },
      { field: 'provenance.recipe', a: '{"group":32}', b: '{}' },
    ]);
    expect(difference.assets).toEqual([]);
    expect(difference.tensors.equal).toBe(COUNT);
  });

  it('lists hyperparameters, tokens and assets that differ', async () => {
    const difference = await compare(
      await write({
        architecture: { ...ARCHITECTURE, ropeTheta: 5000, slidingWindow: 16 },
        specialTokens: { bos: 2, eos: [0, 2], pad: null, addBos: true },
        assets: [{ ...ASSETS[0]!, bytes: new Uint8Array(14) }, ASSETS[1]!, LICENSE],
      }),
    );
    expect(difference.verdict).toBe('different');
    expect(difference.model).toEqual([
      { field: 'architecture.ropeTheta', a: 10_000, b: 5000 },
      { field: 'architecture.slidingWindow', a: null, b: 16 },
      { field: 'specialTokens.bos', a: 1, b: 2 },
    ]);
    expect(difference.assets).toEqual([
      {
        field: 'chat-template',
        a: { mediaType: 'text/plain', length: 14, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
        b: { mediaType: 'text/plain', length: 14, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
      { field: 'license', a: null, b: expect.objectContaining({ length: 1 }) },
    ]);
    expect(difference.tensors.changed).toEqual([]);
  });

  it('measures changed values', async () => {
    const values = decodeTensor(await base.readTensor(NORM));
    const other = values.slice();
    other[3] = 8;
    other[30] = -8;
    const difference = await compare(await write({}, { [NORM]: packDense(other, 'f16') }));
    const [a, b] = [values[3]! - 8, values[30]! + 8];
    const power = values.reduce((sum, value) => sum + value * value, 0);
    expect(difference.verdict).toBe('different');
    expect(difference.tensors.equal).toBe(COUNT - 1);
    expect(difference.tensors.changed).toEqual([
      {
        name: NORM,
        shape: null,
        encoding: null,
        inputRotation: null,
        activation: [],
        planes: ['dense'],
        values: {
          count: 2,
          maximum: Math.max(Math.abs(a), Math.abs(b)),
          relativeRms: expect.closeTo(Math.sqrt((a * a + b * b) / power), 12),
        },
      },
    ]);
  });

  it('names the planes that differ', async () => {
    const planes = weights.get(Q_PROJ)!;
    const alpha = planes.alpha!.slice();
    alpha[0] = alpha[0]! ^ 1;
    const { tensors } = await compare(await write({}, { [Q_PROJ]: { ...planes, alpha } }));
    expect(tensors.changed).toHaveLength(1);
    expect(tensors.changed[0]).toMatchObject({ name: Q_PROJ, planes: ['alpha'] });
    expect(tensors.changed[0]!.values!.count).toBeGreaterThan(0);
  });

  it('tells another encoding of the same values from other values', async () => {
    const values = decodeTensor(await base.readTensor(NORM));
    const tensors = [...listTensors(), EXTRA].map((tensor) =>
      tensor.name === NORM ? { ...tensor, encoding: { kind: 'f32' } as const } : tensor,
    );
    const difference = await compare(await write({ tensors }, { [NORM]: packDense(values, 'f32') }));
    expect(difference.verdict).toBe('different');
    expect(difference.tensors.changed).toEqual([
      {
        name: NORM,
        shape: null,
        encoding: { a: { kind: 'f16' }, b: { kind: 'f32' } },
        inputRotation: null,
        activation: [],
        planes: [],
        values: { count: 0, maximum: 0, relativeRms: 0 },
      },
    ]);
  });

  it('compares activation quantizers field by field', async () => {
    const tensors = [...listTensors(), EXTRA].map((tensor) =>
      tensor.name === Q_PROJ ? { ...tensor, activation: { ...tensor.activation!, clipLow: 0.5 } } : tensor,
    );
    const { verdict, tensors: found } = await compare(await write({ tensors }));
    expect(verdict).toBe('different');
    expect(found.changed).toEqual([
      {
        name: Q_PROJ,
        shape: null,
        encoding: null,
        inputRotation: null,
        activation: [{ field: 'activation.clipLow', a: 0.875, b: 0.5 }],
        planes: [],
        values: null,
      },
    ]);
  });

  it('sees another input rotation, and compares the weights of the layers then', async () => {
    const inputRotation = 'hadamard' as const;
    const tensors = [...listTensors(), EXTRA].map((tensor) =>
      tensor.name === Q_PROJ ? { ...tensor, inputRotation } : tensor,
    );
    const rotated = await write({ tensors });
    const { verdict, tensors: found } = await compare(rotated);
    expect(verdict).toBe('different');
    // The same bytes stand for other weights.
    const stored = decodeTensor(await base.readTensor(Q_PROJ));
    const own = decodeLayerWeights(await rotated.readTensor(Q_PROJ));
    expect(own).not.toEqual(stored);
    const maximum = Math.max(...stored.map((value, i) => Math.abs(value - own[i]!)));
    expect(found.changed).toMatchObject([
      { name: Q_PROJ, inputRotation: { a: undefined, b: inputRotation }, planes: [], values: { maximum } },
    ]);
    // Nor is a tensor with the same bytes and another rotation a renamed one.
    const moved = { ...EXTRA, name: 'extra.b.weight', inputRotation };
    const other = await write(
      { tensors: [...listTensors(), moved] },
      { [moved.name]: weights.get(EXTRA.name)! },
    );
    expect((await compare(other)).tensors.renamed).toEqual([]);
  });

  it('counts outlier columns beside a rotation, which the stored values are without', async () => {
    const encoding = { kind: 'w11-outlier', groupSize: 32, offsets: false, outlierColumns: 1 } as const;
    const tensor = { name: 'extra.o.weight', shape: [1, 2], encoding, activation: null };
    const make = (code: number) =>
      write(
        { tensors: [...listTensors(), { ...tensor, inputRotation: 'hadamard' }] },
        {
          [tensor.name]: packW11Outlier({
            rows: 1,
            columns: 2,
            groupSize: 32,
            sign: Uint8Array.of(1, 0),
            bitmap: Uint8Array.of(1, 1),
            alpha: Float32Array.of(1, 2),
            mu: null,
            outlierIndex: Uint32Array.of(1),
            outlierCodes: Int8Array.of(code),
            outlierScale: Float32Array.of(0.5),
            inputRotation: 'hadamard',
          }),
        },
      );
    const [a, b] = [await make(4), await make(7)];
    const { tensors } = await compareContainers(a, b);
    expect(tensors.changed).toMatchObject([
      { name: tensor.name, planes: ['outlier-codes'], values: { count: 1, maximum: 1.5 } },
    ]);
  });

  it('finds renamed tensors by their bytes, and lists the rest as added and removed', async () => {
    const renamed = { ...EXTRA, name: 'extra.b.weight' };
    const moved = await compare(
      await write({ tensors: [...listTensors(), renamed] }, { [renamed.name]: weights.get(EXTRA.name)! }),
    );
    expect(moved.verdict).toBe('different');
    expect(moved.tensors.renamed).toEqual([{ a: EXTRA.name, b: renamed.name, activation: [] }]);
    expect([moved.tensors.added, moved.tensors.removed]).toEqual([[], []]);

    const other = packDense(new Float32Array(240), 'f32');
    const replaced = await compare(
      await write({ tensors: [...listTensors(), renamed] }, { [renamed.name]: other }),
    );
    expect(replaced.tensors.renamed).toEqual([]);
    expect(replaced.tensors.removed.map(({ name }) => name)).toEqual([EXTRA.name]);
    expect(replaced.tensors.added.map(({ name }) => name)).toEqual([renamed.name]);
  });

  it('compares shapes, and no values where they differ', async () => {
    const wide = { ...EXTRA, shape: [40, 6] };
    const { tensors } = await compare(await write({ tensors: [...listTensors(), wide] }));
    expect(tensors.changed).toEqual([
      {
        name: EXTRA.name,
        shape: { a: [6, 40], b: [40, 6] },
        encoding: null,
        inputRotation: null,
        activation: [],
        planes: [],
        values: null,
      },
    ]);
  });

  it('leaves the values of large tensors alone until it is asked', async () => {
    const large = { ...EXTRA, shape: [1025, 1024] };
    const tensors = [...listTensors(), large];
    const values = new Float32Array(1025 * 1024);
    const zeros = await write({ tensors }, { [EXTRA.name]: packDense(values, 'f32') });
    // Beyond the first 4 MiB, so that the last chunk alone differs.
    values[values.length - 1] = 3;
    const other = await write({ tensors }, { [EXTRA.name]: packDense(values, 'f32') });
    const brief = await compareContainers(zeros, other);
    expect(brief.tensors.changed).toMatchObject([{ name: EXTRA.name, planes: ['dense'], values: null }]);
    const whole = await compareContainers(zeros, other, { values: true });
    expect(whole.tensors.changed[0]!.values).toEqual({ count: 1, maximum: 3, relativeRms: null });
    const reverse = await compareContainers(other, zeros, { values: true });
    expect(reverse.tensors.changed[0]!.values).toEqual({ count: 1, maximum: 3, relativeRms: 1 });
  });

  it('reports progress, and stops when that throws', async () => {
    const other = await write({ metadata: {} });
    const seen: number[] = [];
    await compare(other, { onProgress: (done, total) => seen.push(done / total) });
    expect(seen).toHaveLength(COUNT);
    expect(seen.at(-1)).toBe(1);
    const stop = compare(other, {
      onProgress: () => {
        throw new Error('stop');
      },
    });
    await expect(stop).rejects.toThrow('stop');
  });
});

describe('compareFields', () => {
  it('goes into objects, not into lists', () => {
    expect(compareFields({ a: { b: 1, c: [1] } }, { a: { b: 1, c: [2] }, d: null })).toEqual([
      { field: 'a.c', a: [1], b: [2] },
      { field: 'd', a: undefined, b: null },
    ]);
    expect(compareFields({ a: { b: 1 } }, { a: null })).toEqual([{ field: 'a', a: { b: 1 }, b: null }]);
  });
});
