// The content digest: its exact bytes, what changes it and what does not.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { CountingSource } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { forgeData } from '../test/forge.ts';
import { ARCHITECTURE, ASSETS, listTensors, makeSpec, type Sample, writeSample } from '../test/sample.ts';
import { canonicalJson } from './content-digest.ts';
import {
  type ContainerSpec,
  contentDigest,
  createMemorySource,
  openContainer,
  type PlaneRole,
} from './index.ts';

const hash = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

async function digestOf(bytes: Uint8Array) {
  return contentDigest(await openContainer(createMemorySource(bytes)));
}

async function digestOfSpec(change: Partial<ContainerSpec>, seed = 1) {
  return digestOf((await writeSample(makeSpec(change), seed)).bytes);
}

/** Numbers of the schema for the roles of planes. */
const ROLES: Record<string, number> = {
  dense: 1,
  codes: 2,
  scale: 3,
  sign: 4,
  bitmap: 5,
  alpha: 6,
  mu: 7,
  'outlier-index': 8,
  'outlier-codes': 9,
  'outlier-scale': 10,
  'salient-mask': 11,
  'salient-codes': 12,
  'salient-scale': 13,
  'salient-offsets': 14,
};

/** The digest of the sample, put together as docs/format.md says, without the code under test. */
function expectedDigest({ weights }: Sample): string {
  const tensors = listTensors()
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, shape, encoding, activation }) => {
      const encodings: Record<string, string> = {
        f32: '{"id":1}',
        f16: '{"id":2}',
        bf16: '{"id":3}',
        int8: '{"group_size":32,"id":4}',
        int4: '{"group_size":32,"id":5}',
        w11: '{"flags":1,"group_size":32,"id":6}',
        'w11-outlier': '{"flags":1,"group_size":32,"id":7,"outlier_columns":3}',
        'partial-binary': '{"group_size":32,"id":8,"salient_count":70}',
      };
      const symmetric = encoding.kind === 'w11' && !encoding.offsets;
      const fields = symmetric ? '{"group_size":32,"id":6}' : encodings[encoding.kind]!;
      // 0.875, 0.9 and 8.5 as binary64.
      const knee = activation?.knee ? ',"knee":{"code":12,"slope_ratio":3}' : '';
      const scales = activation?.planeScales ? ',"plane_scales":[1,2,4,"4021000000000000"]' : '';
      const quantizer = activation
        ? `"activation":{"bits":4,"clip_high":"3feccccccccccccd","clip_low":"3fec000000000000"${knee}${scales}},`
        : '';
      const planes = Object.entries(weights.get(name)!)
        .sort(([a], [b]) => ROLES[a]! - ROLES[b]!)
        .map(([role, bytes]) => `{"role":${ROLES[role]},"sha256":"${hash(bytes!)}"}`);
      const text = `{${quantizer}"encoding":${fields},"planes":[${planes}],"shape":[${shape}]}`;
      return `{"name":"${name}","sha256":"${hash(text)}"}`;
    });
  // 1e-5 as binary64 in norm_epsilon; rope_scaling and sliding_window are null.
  const architecture =
    '{"block_count":2,"context_length":64,"family":"llama","head_count":4,"head_size":10,"hidden_size":36,' +
    '"intermediate_size":52,"kv_head_count":2,"norm_epsilon":"3ee4f8b588e368f1","rope_theta":10000,' +
    '"tied_head":false,"vocabulary_size":37}';
  const assets = `[{"role":1,"sha256":"${hash(ASSETS[1]!.bytes)}"},{"role":3,"sha256":"${hash(ASSETS[0]!.bytes)}"}]`;
  const text =
    `{"architecture":${architecture},"assets":${assets},"special_tokens":{"add_bos":true,"bos":1,"eos":[0,2]},` +
    `"tensors":[${tensors}],"type":"duobit-content","version":1}`;
  return hash(text);
}

describe('the content digest', () => {
  it('is the SHA-256 of the bytes that the specification describes [DIG-2] [DIG-3] [DIG-4] [DIG-5] [DIG-7]', async () => {
    const tensors = listTensors();
    const sample = await writeSample(makeSpec({ tensors }));
    const digest = await digestOf(sample.bytes);
    expect(digest.sha256).toBe(expectedDigest(sample));
    expect(hash(digest.text)).toBe(digest.sha256);
    expect(digest.tensors.map(({ name }) => name)).toEqual(tensors.map(({ name }) => name).sort());
    for (const { name, planes } of digest.tensors) {
      for (const { role, length, sha256 } of planes) {
        const bytes = sample.weights.get(name)![role as PlaneRole];
        expect(bytes).toBeDefined();
        expect([length, sha256]).toEqual([bytes!.length, hash(bytes!)]);
      }
    }
  });

  it('does not see metadata, provenance and media types [DIG-1]', async () => {
    const { sha256 } = await digestOfSpec({});
    const provenance = { ...makeSpec().provenance, producer: 'another', calibrationSha256: 'cd'.repeat(32) };
    const assets = ASSETS.map((asset) => ({ ...asset, mediaType: 'application/octet-stream' }));
    expect((await digestOfSpec({ metadata: { other: 'x' }, provenance, assets })).sha256).toBe(sha256);
  });

  it('sees every value, name, shape, quantizer, asset, special token and hyperparameter', async () => {
    const changes: Partial<ContainerSpec>[] = [
      { architecture: { ...ARCHITECTURE, ropeTheta: 10_001 } },
      { architecture: { ...ARCHITECTURE, ropeTheta: 10_000.5 } },
      { architecture: { ...ARCHITECTURE, slidingWindow: 1 } },
      { architecture: { ...ARCHITECTURE, ropeScaling: { kind: 'linear', factor: 2 } } },
      { specialTokens: { ...makeSpec().specialTokens, pad: 0 } },
      { specialTokens: { ...makeSpec().specialTokens, addBos: false } },
      { assets: ASSETS.slice(1) },
      { assets: [ASSETS[1]!, { ...ASSETS[0]!, role: 'license' }] },
      { assets: [ASSETS[1]!, { ...ASSETS[0]!, bytes: new Uint8Array([1]) }] },
      { tensors: listTensors().map((tensor) => ({ ...tensor, activation: null })) },
      {
        tensors: listTensors().map((tensor) => {
          const { activation } = tensor;
          return activation ? { ...tensor, activation: { ...activation, clipLow: 0.9 } } : tensor;
        }),
      },
      { tensors: [...listTensors(), { ...listTensors()[1]!, name: 'extra' }] },
    ];
    const digests = [(await digestOfSpec({})).sha256, (await digestOfSpec({}, 2)).sha256];
    for (const change of changes) digests.push((await digestOfSpec(change)).sha256);
    expect(new Set(digests).size).toBe(changes.length + 2);
  });

  it('names the one tensor that changed, and knows a renamed one again [DIG-6]', async () => {
    const { bytes } = await writeSample();
    const before = await digestOf(bytes);
    const name = 'model.layers.1.self_attn.v_proj.weight';
    const changed = await forgeData(bytes, (data, { segments, tensors }) => {
      const { segment, offset } = tensors.find((tensor) => tensor.name === name)!.planes[0]!;
      data[segments[segment]!.offset + offset]! ^= 1;
    });
    const after = await digestOf(changed);
    expect(after.sha256).not.toBe(before.sha256);
    const different = after.tensors.filter(({ sha256 }, i) => sha256 !== before.tensors[i]!.sha256);
    expect(different.map((tensor) => tensor.name)).toEqual([name]);

    const extra = { ...listTensors()[1]!, name: 'extra.one' };
    const one = await digestOfSpec({ tensors: [...listTensors(), extra] });
    const two = await digestOfSpec({ tensors: [...listTensors(), { ...extra, name: 'extra.two' }] });
    const find = (digest: typeof one, wanted: string) =>
      digest.tensors.find((tensor) => tensor.name === wanted)!;
    expect(find(one, 'extra.one').sha256).toBe(find(two, 'extra.two').sha256);
    expect(one.sha256).not.toBe(two.sha256);
  });

  it('reads each chunk once, reports progress, and stops when asked', async () => {
    const { bytes } = await writeSample();
    const counting = new CountingSource(createMemorySource(bytes));
    const container = await openContainer(counting);
    const opened = counting.reads.length;
    const progress: [number, number][] = [];
    await contentDigest(container, { onProgress: (done, total) => progress.push([done, total]) });
    expect(counting.reads.slice(opened)).toEqual(
      container.manifest.segments.map(({ offset, length }) => ({ offset, length })),
    );
    expect(progress.at(-1)![0]).toBe(progress.at(-1)![1]);
    await expect(contentDigest(container, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });

  it('throws at a damaged chunk', async () => {
    const { bytes } = await writeSample();
    bytes[bytes.length - 1]! ^= 1;
    await expect(digestOf(bytes)).rejects.toMatchObject({ code: 'CHUNK_HASH' });
  });
});

describe('canonical JSON', () => {
  it('is what the example of docs/format.md is written in, and its digest is right', () => {
    const page = readFileSync(new URL('../../../docs/format.md', import.meta.url), 'utf8');
    const [, text, digest] = /^```\n(\{"encoding":.*\})\n([0-9a-f]{64})\n```$/m.exec(page)!;
    expect(canonicalJson(JSON.parse(text!))).toBe(text);
    expect(hash(text!)).toBe(digest);
    expect(text).toContain(hash(Uint8Array.of(0x00, 0x3c, 0x00, 0xc0)));
  });

  it('sorts members, escapes strings and has no white space', () => {
    const value = { b: [1, { z: true, a: 'quote " and \\' }], a: null, A: -5, a_b: 9_007_199_254_740_991 };
    expect(canonicalJson(value)).toBe(
      '{"A":-5,"a":null,"a_b":9007199254740991,"b":[1,{"a":"quote \\" and \\\\","z":true}]}',
    );
  });
});

describe('readSegment', () => {
  it('gives bytes of a segment, and refuses what is outside', async () => {
    const { bytes } = await writeSample();
    const container = await openContainer(createMemorySource(bytes));
    const { segments } = container.manifest;
    const { offset, length } = segments[2]!;
    expect(await container.readSegment(2, 3, 10)).toEqual(bytes.slice(offset + 3, offset + 13));
    for (const [segment, from, count] of [
      [2, length, 1],
      [2, -1, 1],
      [segments.length, 0, 1],
      [-1, 0, 1],
      [0.5, 0, 1],
    ] as const) {
      await expect(container.readSegment(segment, from, count)).rejects.toMatchObject({
        code: 'SOURCE_TRUNCATED',
      });
    }
  });
});
