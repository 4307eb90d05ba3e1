// Written and read again: the same manifest, planes, assets and bytes.
import { describe, expect, it } from 'vitest';
import { ASSETS, encodedBytes, makeSpec, writeSample } from '../test/sample.ts';
import {
  accountSizes,
  compareTensorNames,
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  decodeTensor,
  LIMITS,
  openContainer,
  readIdentity,
  validateContainer,
} from './index.ts';
import type { ByteSource } from './source.ts';

/** Counts bytes read. */
function countReads(bytes: Uint8Array): { source: ByteSource; ranges: [number, number][] } {
  const source = createMemorySource(bytes, 'counted.duo');
  const ranges: [number, number][] = [];
  return {
    ranges,
    source: {
      ...source,
      read(offset, length) {
        ranges.push([offset, length]);
        return source.read(offset, length);
      },
      async readInto(offset, target) {
        ranges.push([offset, target.length]);
        await source.readInto!(offset, target);
      },
    },
  };
}

describe('a container', () => {
  it('reads a chunk once, however many ask for it at the same time', async () => {
    const { source, ranges } = countReads((await writeSample()).bytes);
    const container = await openContainer(source);
    const opened = ranges.length;
    const read = () => container.readSegment(0, 0, 100);
    const [first, second] = await Promise.all([read(), read()]);
    expect(first).toEqual(second);
    expect(ranges.length - opened).toBe(1);
  });

  it('is known by its first 128 bytes, and closes what its chunks come from after its files', async () => {
    const { bytes } = await writeSample();
    const source = createMemorySource(bytes, 'sample.duo');
    const order: string[] = [];
    const container = await openContainer(
      { ...source, close: async () => void order.push('source') },
      {
        chunks: (_, files) => ({
          async readChunk(segment, chunk, target) {
            const { file, offset } = container.manifest.segments[segment]!;
            const from = await files(file);
            target.set(await from.read(offset + chunk * LIMITS.chunkBytes, target.length));
          },
          close: async () => void order.push('chunks'),
        }),
      },
    );
    const { headerSha256, headerLength, fileLength } = container.manifest;
    expect(await readIdentity(source)).toEqual({
      headerSha256,
      headerBytes: Math.ceil(headerLength / 16_384) * 16_384,
      fileLength,
    });
    expect(await readIdentity(createMemorySource(bytes.subarray(1)))).toBeNull();
    expect(await readIdentity(createMemorySource(bytes.subarray(0, 100)))).toBeNull();
    const plain = await openContainer(source);
    for (const name of container.tensorNames)
      expect(await container.readTensor(name)).toEqual(await plain.readTensor(name));
    await container.close();
    expect(order).toEqual(['source', 'chunks']);
  });

  it('gives back what was written', async () => {
    const spec = makeSpec();
    const { bytes, summary, weights } = await writeSample(spec);
    const container = await openContainer(createMemorySource(bytes, 'sample.duo'));
    const { manifest } = container;

    expect(manifest.fileLength).toBe(bytes.length);
    expect(summary).toEqual({
      fileLength: bytes.length,
      headerLength: manifest.headerLength,
      headerSha256: manifest.headerSha256,
    });
    expect(container.architecture).toEqual(spec.architecture);
    expect(container.specialTokens).toEqual({ ...spec.specialTokens, eos: [0, 2] });
    expect(manifest.provenance).toEqual(spec.provenance);
    expect(manifest.metadata).toEqual(spec.metadata);
    expect(manifest.segments.map(({ name }) => name)).toEqual([
      'assets',
      'embedding',
      'block.0',
      'block.1',
      'head',
    ]);
    expect([...container.tensorNames]).toEqual(spec.tensors.map(({ name }) => name).sort(compareTensorNames));
    for (const tensor of spec.tensors) {
      expect(container.tensorInfo(tensor.name)).toMatchObject(tensor);
      const { info, planes } = await container.readTensor(tensor.name);
      expect(info.encoding).toEqual(tensor.encoding);
      expect(planes).toEqual(weights.get(tensor.name));
      for (const plane of Object.values(planes)) expect(plane.buffer.byteLength).toBe(plane.length);
      expect(decodeTensor({ info, planes }).every(Number.isFinite)).toBe(true);
    }
    for (const { role, bytes: asset } of ASSETS) expect(await container.readAsset(role)).toEqual(asset);
    expect(await container.readAsset('license')).toBeNull();
    await container.close();
    expect(await validateContainer(createMemorySource(bytes))).toMatchObject({ ok: true, problems: [] });
  });

  it('keeps optional parts: RoPE scaling, window, calibration, pad, no assets, tied head', async () => {
    const spec = makeSpec({
      assets: [],
      tensors: makeSpec().tensors.filter(({ name }) => name !== 'lm_head.weight'),
      architecture: {
        ...makeSpec().architecture,
        family: 'mistral',
        slidingWindow: 7,
        tiedHead: true,
        ropeScaling: {
          kind: 'llama3',
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalContextLength: 8192,
        },
      },
      specialTokens: { bos: null, eos: [], pad: 0, addBos: false },
      provenance: { ...makeSpec().provenance, calibrationSha256: 'cd'.repeat(32), recipe: '\ufeff"é"' },
      metadata: {},
    });
    const { manifest } = await openContainer(createMemorySource((await writeSample(spec)).bytes));
    expect(manifest.architecture).toEqual(spec.architecture);
    expect(manifest.specialTokens).toEqual(spec.specialTokens);
    expect(manifest.provenance).toEqual(spec.provenance);
    expect(manifest.segments[0]?.name).toBe('embedding');
  });

  it('is the same bytes for the same model, in whatever order it is given [PRV-2] [CAN-1]', async () => {
    const spec = makeSpec();
    const shuffled = makeSpec({
      assets: [...ASSETS].reverse(),
      tensors: [...spec.tensors].reverse(),
      metadata: Object.fromEntries(Object.entries(spec.metadata).reverse()),
    });
    const [first, again] = [await writeSample(spec), await writeSample(spec)];
    expect(again.bytes).toEqual(first.bytes);
    // The sample draws its weights in the order of the tensors, so these are written by hand.
    const sink = createMemorySink();
    const writer = await createContainerWriter(shuffled, sink);
    for (const name of writer.order) await writer.writeTensor(name, first.weights.get(name)!);
    await writer.finish();
    expect(sink.bytes()).toEqual(first.bytes);
  });

  it('places everything as the format says', async () => {
    const { bytes } = await writeSample();
    const { manifest } = await openContainer(createMemorySource(bytes));
    for (const segment of manifest.segments) expect(segment.offset % 16_384).toBe(0);
    for (const plane of manifest.tensors.flatMap(({ planes }) => planes)) expect(plane.offset % 256).toBe(0);
    const last = manifest.segments.at(-1)!;
    expect(last.offset + last.length).toBe(bytes.length);
  });

  it('reads the header in two reads and a tensor from its own segment only [INT-3]', async () => {
    const { bytes } = await writeSample();
    const { source, ranges } = countReads(bytes);
    const container = await openContainer(source);
    const { segments } = container.manifest;
    expect(ranges).toEqual([
      [0, 128],
      [0, segments[0]!.offset],
    ]);
    ranges.length = 0;
    const block = segments.find(({ name }) => name === 'block.1')!;
    await container.readTensor('model.layers.1.mlp.up_proj.weight');
    await container.readTensor('model.layers.1.mlp.down_proj.weight');
    // One chunk, hashed once; the second tensor comes from it too.
    expect(ranges).toEqual([[block.offset, block.length]]);
  });

  it('is frozen all the way down', async () => {
    const { manifest } = await openContainer(createMemorySource((await writeSample()).bytes));
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      expect(Object.isFrozen(value)).toBe(true);
      for (const part of Object.values(value)) walk(part);
    };
    walk(manifest);
  });

  it('accounts for every byte', async () => {
    const spec = makeSpec();
    const { bytes } = await writeSample(spec);
    const account = accountSizes((await openContainer(createMemorySource(bytes))).manifest);
    expect(Object.values(account.bytes).reduce((sum, size) => sum + size, 0)).toBe(bytes.length);
    expect(account.bytes.padding).toBeGreaterThan(0);
    const w11 = spec.tensors.filter(({ encoding }) => encoding.kind.startsWith('w11'));
    expect(account.linear.bytes).toBe(w11.reduce((sum, tensor) => sum + encodedBytes(tensor), 0));
    expect(account.linear.weights).toBe(w11.reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0));
    expect(account.bitsPerWeightFile).toBeCloseTo((8 * bytes.length) / account.parameters, 12);
    expect(account.bytes.norms).toBe(36 * (2 + 2 * (4 + 2)));
  });
});
