import { readFileSync } from 'node:fs';
import {
  type Container,
  computeTensorStatistics,
  createMemorySource,
  decodeRowBlocks,
  decodeTensor,
  openContainer,
} from '@duobit/format';
import { beforeAll, describe, expect, it } from 'vitest';
import { forgeHeader } from '../test/forge.ts';
import { listTensors, makeSpec, writeSample } from '../test/sample.ts';

let container: Container;
const replaced = new Map<string, object>([
  [
    'model.layers.0.mlp.up_proj.weight',
    { kind: 'w11-outlier', groupSize: 32, offsets: true, outlierColumns: 3 },
  ],
  [
    'model.layers.0.mlp.gate_proj.weight',
    { kind: 'w11-outlier', groupSize: 32, offsets: false, outlierColumns: 1 },
  ],
  ['model.layers.0.self_attn.o_proj.weight', { kind: 'partial-binary', groupSize: 32, salientCount: 101 }],
]);

beforeAll(async () => {
  const tensors = listTensors().map((tensor) => {
    const encoding = replaced.get(tensor.name);
    return encoding ? { ...tensor, encoding: encoding as typeof tensor.encoding } : tensor;
  });
  const { bytes } = await writeSample(makeSpec({ tensors }));
  container = await openContainer(createMemorySource(bytes));
});

describe('decodeRowBlocks', () => {
  it.each([1, 36, 100, 2 ** 20])(
    'gives the values of the whole in blocks of %i values',
    async (blockValues) => {
      for (const name of container.tensorNames) {
        const whole = decodeTensor(await container.readTensor(name));
        const blocks: Float32Array[] = [];
        for await (const block of decodeRowBlocks(container, name, blockValues)) blocks.push(block);
        expect(
          blocks.flatMap((block) => [...block]),
          name,
        ).toEqual([...whole]);
        const { encoding, shape } = container.tensorInfo(name);
        if (blockValues === 1 && encoding.kind !== 'partial-binary')
          expect(blocks, name).toHaveLength(shape[0]!);
      }
    },
  );

  it('refuses names and encodings that nobody knows', async () => {
    const first = (name: string, from = container) => decodeRowBlocks(from, name).next();
    await expect(first('nothing')).rejects.toMatchObject({ code: 'TENSOR_UNKNOWN' });
    const { bytes } = await writeSample();
    const forged = await forgeHeader(bytes, (content) => {
      const fields = { groupSize: 0, flags: 0, outlierColumns: 0, salientCount: 0 };
      content.tensors[0]!.encoding = { kind: 'unknown', id: 99, ...fields };
    });
    const strange = await openContainer(createMemorySource(forged));
    await expect(first('lm_head.weight', strange)).rejects.toMatchObject({ code: 'ENCODING_UNKNOWN' });
  });
});

describe('computeTensorStatistics', () => {
  it('agrees with sums over the decoded values, for every encoding', async () => {
    for (const name of container.tensorNames) {
      const statistics = await computeTensorStatistics(container, name);
      const values = [...decodeTensor(await container.readTensor(name))];
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
      expect(statistics.count, name).toBe(values.length);
      expect(statistics.minimum, name).toBe(Math.min(...values));
      expect(statistics.maximum, name).toBe(Math.max(...values));
      expect(statistics.mean, name).toBeCloseTo(mean, 12);
      expect(statistics.standardDeviation, name).toBeCloseTo(Math.sqrt(variance), 12);
      expect(statistics.zeros, name).toBe(values.filter((value) => value === 0).length);
      const counted = statistics.histogram.reduce((sum, bar) => sum + bar.count, 0);
      expect(counted, name).toBe(values.length);
    }
  });

  it('counts the four levels bit by bit', async () => {
    const name = 'model.layers.1.self_attn.q_proj.weight';
    const { planes, info } = await container.readTensor(name);
    const [rows, columns] = info.shape as [number, number];
    const stride = planes.sign!.length / rows;
    const counts = [0, 0, 0, 0];
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < columns; k++) {
        const bit = (plane: Uint8Array) => (plane[row * stride + Math.floor(k / 8)]! >> (k % 8)) & 1;
        counts[2 * bit(planes.bitmap!) + bit(planes.sign!)]! += 1;
      }
    }
    expect((await computeTensorStatistics(container, name)).histogram).toEqual([
      { label: 'mu[0] - alpha[0]', count: counts[0] },
      { label: 'mu[0] + alpha[0]', count: counts[1] },
      { label: 'mu[1] - alpha[1]', count: counts[2] },
      { label: 'mu[1] + alpha[1]', count: counts[3] },
    ]);
  });

  it('counts outliers and salient weights apart', async () => {
    const bars = async (name: string) => (await computeTensorStatistics(container, name)).histogram;
    const outliers = await bars('model.layers.0.mlp.up_proj.weight');
    expect(outliers.map(({ label }) => label)).toContain('mu[0] - alpha[0]');
    expect(outliers.at(-1)).toEqual({ label: 'outlier columns', count: 52 * 3 });
    const symmetric = await bars('model.layers.0.mlp.gate_proj.weight');
    expect(symmetric[0]!.label).toBe('-alpha[0]');
    const salient = await bars('model.layers.0.self_attn.o_proj.weight');
    expect(salient.at(-1)).toEqual({ label: 'salient', count: 101 });
    expect(salient[0]!.count).toBeGreaterThan(0);
  });

  it('counts the bits of all columns where outlier columns are those of an unrotated input', async () => {
    const url = new URL('../../../fixtures/good/rotated-outliers.duo', import.meta.url);
    const rotated = await openContainer(createMemorySource(new Uint8Array(readFileSync(url))));
    const { histogram, count } = await computeTensorStatistics(
      rotated,
      'model.layers.0.self_attn.q_proj.weight',
    );
    expect(histogram.map(({ label }) => label)).not.toContain('outlier columns');
    expect(histogram.reduce((sum, bar) => sum + bar.count, 0)).toBe(count);
    expect(histogram.every((bar) => bar.count > 0)).toBe(true);
  });

  it('counts integer codes, and bins dense values', async () => {
    const codes = await computeTensorStatistics(container, 'lm_head.weight');
    expect(codes.histogram.map(({ label }) => label)).toEqual(
      Array.from({ length: 16 }, (_, i) => String(i - 8)),
    );
    const bytes = await computeTensorStatistics(container, 'model.embed_tokens.weight');
    expect(bytes.histogram).toHaveLength(16);
    expect(bytes.histogram[0]!.label).toBe('-128 to -113');
    expect(bytes.histogram[15]!.label).toBe('112 to 127');
    const plane = (await container.readTensor('model.embed_tokens.weight')).planes.codes!;
    const top = plane.filter((byte) => byte >= 112 && byte < 128).length;
    expect(bytes.histogram[15]!.count).toBe(top);
    const dense = await computeTensorStatistics(container, 'model.norm.weight');
    expect(dense.histogram).toHaveLength(16);
    expect(dense.histogram[0]!.count).toBeGreaterThan(0);
    expect(dense.histogram[15]!.count).toBeGreaterThan(0);
    expect(dense.scales).toEqual([]);
  });

  it('gives the ranges of the scales', async () => {
    const name = 'model.layers.1.self_attn.q_proj.weight';
    const { scales } = await computeTensorStatistics(container, name);
    expect(scales.map((scale) => scale.name)).toEqual(['alpha[0]', 'alpha[1]', 'mu[0]', 'mu[1]']);
    for (const { minimum, maximum } of scales) {
      expect(minimum).toBeGreaterThanOrEqual(-0.5);
      expect(maximum).toBeLessThanOrEqual(0.5);
      expect(minimum).toBeLessThan(maximum);
    }
    const partial = await computeTensorStatistics(container, 'model.layers.0.self_attn.o_proj.weight');
    expect(partial.scales.map((scale) => scale.name).sort()).toEqual([
      'alpha',
      'mu',
      'salient-minimum',
      'salient-scale',
    ]);
  });
});
