// Every rule about meaning and places, by its code: opening throws it, validation lists it.

import { ByteBuffer } from 'flatbuffers';
import { beforeAll, describe, expect, it } from 'vitest';
import { openCode, validationCodes } from '../test/codes.ts';
import { forgeHeader, type MutableContent, rehashHeader, tensor } from '../test/forge.ts';
import { ARCHITECTURE, makeSpec, type Sample, writeSample } from '../test/sample.ts';
import { Model } from './generated/duobit/model.ts';
import {
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  DuobitError,
  openContainer,
  validateContainer,
} from './index.ts';

let sample: Sample;
beforeAll(async () => {
  sample = await writeSample();
});

const Q = 'model.layers.0.self_attn.q_proj.weight';

const KNEE = 'model.layers.1.self_attn.k_proj.weight';
const OUTLIERS = 'model.layers.1.mlp.gate_proj.weight';
const BINARY = 'model.layers.1.self_attn.o_proj.weight';
const NORM = 'model.layers.0.input_layernorm.weight';
const FUTURE = {
  kind: 'unknown',
  id: 999,
  groupSize: 48,
  flags: 2 ** 31,
  outlierColumns: 5,
  salientCount: 2 ** 40,
} as const;
const NO_FIELDS = { groupSize: 0, flags: 0, outlierColumns: 0, salientCount: 0 };

const HEADER_RULES: [string, string, (content: MutableContent) => void][] = [
  ['ARCHITECTURE_INVALID', 'no layers', (c) => (c.architecture.blockCount = 0)],
  ['ARCHITECTURE_INVALID', 'heads that do not divide', (c) => (c.architecture.kvHeadCount = 3)],
  ['ARCHITECTURE_INVALID', 'odd head size', (c) => (c.architecture.headSize = 9)],
  ['ARCHITECTURE_INVALID', 'NaN epsilon', (c) => (c.architecture.normEpsilon = Number.NaN)],
  ['ARCHITECTURE_INVALID', 'negative theta', (c) => (c.architecture.ropeTheta = -1)],
  ['ARCHITECTURE_INVALID', 'empty window', (c) => (c.architecture.slidingWindow = 0)],
  [
    'ARCHITECTURE_INVALID',
    'endless RoPE factor',
    (c) => (c.architecture.ropeScaling = { kind: 'linear', factor: Infinity }),
  ],
  ['ARCHITECTURE_UNSUPPORTED', 'another family', (c) => Object.assign(c.architecture, { family: 'mamba' })],
  ['SPECIAL_TOKENS', 'a token outside the vocabulary', (c) => (c.specialTokens.pad = 37)],
  ['SPECIAL_TOKENS', 'unsorted eos', (c) => (c.specialTokens.eos = [2, 0])],
  ['SPECIAL_TOKENS', 'addBos without bos', (c) => (c.specialTokens.bos = null)],
  ['ASSET_ORDER', 'a role twice', (c) => (c.assets[1]!.role = 'tokenizer')],
  ['ASSET_LENGTH', 'an empty asset', (c) => (c.assets[1]!.length = 0)],
  ['NAME_INVALID', 'a media type with a space', (c) => (c.assets[1]!.mediaType = 'text plain')],
  ['NAME_INVALID', 'a metadata key with a line end', (c) => (c.metadata = { 'a\nb': '' })],
  ['NAME_INVALID', 'a tensor name outside ASCII', (c) => (c.tensors.at(-1)!.name = 'model.normé.weight')],
  ['NAME_INVALID', 'an empty segment name', (c) => (c.segments[0]!.name = '')],
  ['TENSOR_DUPLICATE', 'a name twice', (c) => (c.tensors[1]!.name = c.tensors[0]!.name)],
  ['TENSOR_ORDER', 'unsorted names', (c) => c.tensors.reverse()],
  ['TENSOR_SHAPE', 'a dimension of zero', (c) => (tensor(c, Q).shape = [0, 36])],
  ['TENSOR_SHAPE', 'a product above 2^53', (c) => (tensor(c, Q).shape = [2 ** 30, 2 ** 30])],
  ['TENSOR_SHAPE', 'five dimensions', (c) => (tensor(c, Q).shape = [1, 1, 1, 40, 36])],
  ['TENSOR_SHAPE', 'a grouped vector', (c) => (tensor(c, Q).shape = [1440])],
  ['OFFSET_UNSAFE', 'a dimension of 2^53', (c) => (tensor(c, Q).shape = [2 ** 53, 36])],
  ['TENSOR_GROUP_SIZE', 'groups of 33', (c) => Object.assign(tensor(c, Q).encoding, { groupSize: 33 })],
  ['PLANE_ROLES', 'a plane too few', (c) => tensor(c, Q).planes.pop()],
  ['PLANE_ROLES', 'planes in another order', (c) => tensor(c, Q).planes.reverse()],
  ['PLANE_LENGTH', 'a plane too short', (c) => (tensor(c, Q).planes[0]!.length -= 4)],
  [
    'LIMIT_EXCEEDED',
    'many planes',
    (c) => (tensor(c, Q).planes = Array.from({ length: 17 }, () => tensor(c, Q).planes[0]!)),
  ],
  [
    'LIMIT_EXCEEDED',
    'many metadata',
    (c) => (c.metadata = Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`k${i}`, '']))),
  ],
  ['LIMIT_EXCEEDED', 'many eos', (c) => (c.specialTokens.eos = Array.from({ length: 65 }, (_, i) => i))],
  ['LIMIT_EXCEEDED', 'a long text [STR-18]', (c) => (c.provenance.recipe = 'x'.repeat(2 ** 20 + 1))],
  ['ACTIVATION_INVALID', 'a clip of zero', (c) => (tensor(c, Q).activation!.clipLow = 0)],
  [
    'ACTIVATION_INVALID',
    'a quantized norm',
    (c) =>
      (tensor(c, 'model.norm.weight').activation = {
        bits: 4,
        clipLow: 1,
        clipHigh: 1,
        knee: null,
        planeScales: null,
      }),
  ],
  ['ACTIVATION_INVALID', 'a knee at 0', (c) => (tensor(c, KNEE).activation!.knee!.code = 0)],
  ['ACTIVATION_INVALID', 'a knee at 15', (c) => (tensor(c, KNEE).activation!.knee!.code = 15)],
  ['ACTIVATION_INVALID', 'a slope ratio of 1', (c) => (tensor(c, KNEE).activation!.knee!.slopeRatio = 1)],
  ['ACTIVATION_INVALID', 'a slope ratio of 9', (c) => (tensor(c, KNEE).activation!.knee!.slopeRatio = 9)],
  ['ACTIVATION_INVALID', 'three plane scales', (c) => (tensor(c, Q).activation!.planeScales = [1, 2, 4])],
  [
    'ACTIVATION_INVALID',
    'a plane scale of zero',
    (c) => (tensor(c, Q).activation!.planeScales = [1, 0, 4, 8]),
  ],
  [
    'ACTIVATION_INVALID',
    'an endless plane scale',
    (c) => (tensor(c, Q).activation!.planeScales = [1, 2, 4, Infinity]),
  ],
  [
    'ACTIVATION_INVALID',
    'knee and plane scales',
    (c) => (tensor(c, KNEE).activation!.planeScales = [1, 2, 4, 8]),
  ],
  [
    'ENCODING_PARAMETERS',
    'more outlier columns than columns',
    (c) => Object.assign(tensor(c, OUTLIERS).encoding, { outlierColumns: 37 }),
  ],
  [
    'ENCODING_PARAMETERS',
    'no outlier column',
    (c) => Object.assign(tensor(c, OUTLIERS).encoding, { outlierColumns: 0 }),
  ],
  [
    'ENCODING_PARAMETERS',
    'more salient weights than weights',
    (c) => Object.assign(tensor(c, BINARY).encoding, { salientCount: 1441 }),
  ],
  [
    'ENCODING_PARAMETERS',
    'no salient weight',
    (c) => Object.assign(tensor(c, BINARY).encoding, { salientCount: 0 }),
  ],
  [
    'ENCODING_PARAMETERS',
    '2^32 salient weights',
    (c) => Object.assign(tensor(c, BINARY).encoding, { salientCount: 2 ** 32 }),
  ],
  [
    'ENCODING_PARAMETERS',
    'outlier columns in f32',
    (c) => (tensor(c, NORM).encoding = { kind: 'unknown', id: 1, ...NO_FIELDS, outlierColumns: 1 }),
  ],
  [
    'ENCODING_PARAMETERS',
    'salient weights in w11',
    (c) => (tensor(c, Q).encoding = { kind: 'unknown', id: 6, ...NO_FIELDS, groupSize: 32, salientCount: 1 }),
  ],
  [
    'PLANE_LENGTH',
    'another outlier count',
    (c) => Object.assign(tensor(c, OUTLIERS).encoding, { outlierColumns: 4 }),
  ],
  [
    'PLANE_LENGTH',
    'another salient count',
    (c) => Object.assign(tensor(c, BINARY).encoding, { salientCount: 73 }),
  ],
  ['KV_CACHE_INVALID', 'keys of 5 bits', (c) => Object.assign(c.kvCache!, { keyBits: 5 })],
  ['KV_CACHE_INVALID', 'values of 0 bits', (c) => Object.assign(c.kvCache!, { valueBits: 0 })],
  ['KV_CACHE_INVALID', 'groups of 16', (c) => Object.assign(c.kvCache!, { groupSize: 16 })],
  ['DATA_FILE_LAYOUT', 'a data file that is not listed', (c) => (c.segments[4]!.file = 1)],
  ['ACTIVATION_UNSUPPORTED', 'five bits', (c) => Object.assign(tensor(c, Q).activation!, { bits: 5 })],
  ['TENSOR_MISSING', 'an absent tensor', (c) => c.architecture.blockCount++],
  ['TENSOR_MISMATCH', 'another width', (c) => (c.architecture.intermediateSize += 4)],
  ['PLANE_RANGE', 'a segment that does not exist', (c) => (tensor(c, Q).planes[0]!.segment = 5)],
  ['PLANE_RANGE', 'a plane behind its segment', (c) => (tensor(c, Q).planes[0]!.offset = 2 ** 40)],
  ['PLANE_RANGE', 'a sum that would wrap', (c) => (tensor(c, Q).planes[0]!.offset = Number.MAX_SAFE_INTEGER)],
  ['OFFSET_UNSAFE', 'an offset of 2^53', (c) => (tensor(c, Q).planes[0]!.offset = 2 ** 53)],
  ['PLANE_LAYOUT', 'a plane off its place', (c) => (tensor(c, Q).planes.at(-1)!.offset += 4)],
  [
    'PLANE_OVERLAP',
    'two planes in one place',
    (c) => (tensor(c, Q).planes[1]!.offset = tensor(c, Q).planes[0]!.offset),
  ],
  ['SEGMENT_LAYOUT', 'an overlap of segments', (c) => (c.segments[2]!.offset = c.segments[1]!.offset)],
  ['SEGMENT_LAYOUT', 'a segment off its boundary', (c) => (c.segments[4]!.offset += 256)],
  ['SEGMENT_LAYOUT', 'a segment with an unused end', (c) => (c.segments[3]!.length += 1)],
  ['SEGMENT_LAYOUT', 'no segments', (c) => (c.segments = [])],
  ['SEGMENT_DUPLICATE', 'a segment name twice', (c) => (c.segments[3]!.name = 'block.0')],
  ['SEGMENT_HASHES', 'a hash too few', (c) => (c.segments[3]!.chunkHashes = new Uint8Array(0))],
  ['SEGMENT_HASHES', 'a hash too many', (c) => (c.segments[3]!.chunkHashes = new Uint8Array(64))],
  ['PROVENANCE_HASH', 'half a hash', (c) => (c.provenance.sourceSha256 = 'ab'.repeat(16))],
];

describe('rules of the header', () => {
  it.each(HEADER_RULES)('%s: %s', async (code, _what, change) => {
    const forged = await forgeHeader(sample.bytes, (content) => void change(content));
    // Several rules may be broken by one change; opening stops at the first in the order of the document.
    expect(await validationCodes(forged)).toContain(code);
    expect(await openCode(forged)).not.toBe('opened');
  });

  it('METADATA_ORDER: a key twice', async () => {
    const forged = await forgeHeader(
      sample.bytes,
      (content) => (content.metadata = { aaaa: '1', bbbb: '2' }),
    );
    const at = forged.findIndex((_, i) => String.fromCharCode(...forged.subarray(i, i + 4)) === 'bbbb');
    forged.fill(0x61, at, at + 4);
    await rehashHeader(forged);
    expect(await validationCodes(forged)).toEqual(['METADATA_ORDER']);
    expect(await openCode(forged)).toBe('METADATA_ORDER');
  });

  it('ENCODING_PARAMETERS: an undefined flag', async () => {
    const bytes = sample.bytes.slice();
    const model = Model.getRootAsModel(new ByteBuffer(bytes));
    const { tensors } = (await openContainer(createMemorySource(bytes))).manifest;
    const table = model.tensors(tensors.findIndex(({ name }) => name === Q))!;
    const vtableSlot = 4 + 2 * 4;
    new DataView(bytes.buffer).setUint32(
      table.bb_pos + table.bb!.__offset(table.bb_pos, vtableSlot),
      3,
      true,
    );
    expect(table.flags()).toBe(3);
    await rehashHeader(bytes);
    expect(await openCode(bytes)).toBe('ENCODING_PARAMETERS');
    expect(await validationCodes(bytes)).toEqual(['ENCODING_PARAMETERS']);
  });

  it('FILE_LENGTH: the last segment ends elsewhere', async () => {
    const longer = new Uint8Array(sample.bytes.length + 1);
    longer.set(sample.bytes);
    const view = new DataView(longer.buffer);
    view.setBigUint64(32, BigInt(longer.length), true);
    await rehashHeader(longer);
    expect(await openCode(longer)).toBe('FILE_LENGTH');
    expect(await validationCodes(longer)).toEqual(['FILE_LENGTH']);
  });

  it('lists and skips an encoding of the future', async () => {
    const forged = await forgeHeader(sample.bytes, (content) => {
      content.tensors.push({
        name: 'z.future',
        shape: [3, 5],
        encoding: FUTURE,
        planes: [{ role: 'unknown-77', segment: 4, offset: 0, length: 1 }],
        activation: null,
      });
      // In place of a known tensor, so that the layout stays right.
      const head = tensor(content, 'lm_head.weight');
      content.architecture.tiedHead = true;
      content.tensors.at(-1)!.planes = head.planes.map((plane, i) => ({
        ...plane,
        role: `unknown-${77 + i}`,
      }));
      content.tensors = content.tensors.filter((candidate) => candidate !== head);
    });
    expect(await validationCodes(forged)).toEqual([]);
    const container = await openContainer(createMemorySource(forged));
    expect(container.tensorInfo('z.future').encoding).toEqual(FUTURE);
    // Nothing of it is lost when the header is written again.
    const report = await validateContainer(createMemorySource(forged), { canonical: true });
    expect(report.problems.map(({ code }) => code)).not.toContain('CANONICAL_HEADER');
    expect(container.tensorInfo('z.future').planes[1]!.role).toBe('unknown-78');
    await expect(container.readTensor('z.future')).rejects.toMatchObject({ code: 'ENCODING_UNKNOWN' });
    await expect(container.readTensor('absent')).rejects.toMatchObject({ code: 'TENSOR_UNKNOWN' });
  });
});

describe('rules of the preamble', () => {
  const edit = async (change: (view: DataView, bytes: Uint8Array) => void) => {
    const bytes = sample.bytes.slice();
    change(new DataView(bytes.buffer), bytes);
    return rehashHeader(bytes);
  };

  it.each<[string, string, (view: DataView, bytes: Uint8Array) => void]>([
    ['CONTAINER_MAGIC', 'another identifier', (_, bytes) => bytes.set([0x47, 0x47, 0x55, 0x46], 4)],
    ['CONTAINER_MAGIC', 'a line end converted', (_, bytes) => (bytes[12] = 0x0a)],
    ['CONTAINER_MAGIC', 'GGUF', (_, bytes) => bytes.set([...'GGUF\u0003\0\0\0'].map((c) => c.charCodeAt(0)))],
    ['VERSION_UNSUPPORTED', 'the next major version', (view) => view.setUint16(16, 2, true)],
    ['FEATURE_UNSUPPORTED', 'an unknown feature', (view) => view.setBigUint64(40, 1n << 63n, true)],
    ['FEATURE_MISMATCH', 'data files that are not there', (view) => view.setBigUint64(40, 1n, true)],
    ['PREAMBLE_RESERVED', 'a reserved byte', (_, bytes) => (bytes[127] = 1)],
    ['HEADER_LENGTH', 'a header of 128 bytes', (view) => view.setUint32(20, 128, true)],
    ['HEADER_LENGTH', 'a header of 4 GiB', (view) => view.setUint32(20, 2 ** 32 - 1, true)],
    ['FILE_TRUNCATED', 'a header longer than the file', (view) => view.setUint32(20, 2 ** 23, true)],
    ['SEGMENT_BASE', 'another base', (view) => view.setBigUint64(24, 32_768n, true)],
    ['SEGMENT_BASE', 'a base of 2^63', (view) => view.setBigUint64(24, 1n << 63n, true)],
    ['FILE_TRUNCATED', 'a length of 2^64 - 1', (view) => view.setBigUint64(32, 2n ** 64n - 1n, true)],
    ['FILE_TRAILING', 'a length too small', (view) => view.setBigUint64(32, 4096n, true)],
  ])('%s: %s', async (code, _what, change) => {
    const bytes = await edit(change);
    expect(await openCode(bytes)).toBe(code);
    expect(await validationCodes(bytes)).toContain(code);
  });

  it('reads a file with an unknown compatible feature and a later minor version', async () => {
    const bytes = await edit((view) => {
      view.setBigUint64(48, 1n << 40n, true);
      view.setUint16(18, 7, true);
    });
    expect(await openCode(bytes)).toBe('opened');
    const report = await validateContainer(createMemorySource(bytes), { canonical: true });
    expect(report.problems).toEqual([]);
    expect(report.manifest!.compatibleFeatures).toEqual([40]);
    expect(report.notes).toEqual([
      'compatible features 40 are not known and were ignored',
      'canonical form was not checked: version 1.7 is newer than this release',
    ]);
  });

  it('refuses trailing bytes, missing bytes and what is no file at all', async () => {
    const longer = new Uint8Array(sample.bytes.length + 1);
    longer.set(sample.bytes);
    expect(await openCode(longer)).toBe('FILE_TRAILING');
    expect(await openCode(sample.bytes.slice(0, -1))).toBe('FILE_TRUNCATED');
    expect(await openCode(sample.bytes.slice(0, 127))).toBe('FILE_TOO_SHORT');
    expect(await openCode(new Uint8Array(4096))).toBe('CONTAINER_MAGIC');
  });
});

/** The tensors of the sample, one with a rotated input. */
function rotate(name: string) {
  return makeSpec().tensors.map((tensor) =>
    tensor.name === name ? { ...tensor, inputRotation: 'hadamard' as const } : tensor,
  );
}

describe('the writer', () => {
  it('names version and feature of input rotations where there is one [EVO-9] [ROT-2]', async () => {
    const { bytes } = await writeSample(makeSpec({ tensors: rotate(Q) }));
    const named = ({ buffer }: Uint8Array) => {
      const view = new DataView(buffer);
      return [view.getUint16(18, true), view.getBigUint64(40, true)];
    };
    expect([named(sample.bytes), named(bytes)]).toEqual([
      [0, 0n],
      [1, 2n],
    ]);
    const { manifest } = await openContainer(createMemorySource(bytes));
    const rotated = manifest.tensors.filter(({ inputRotation }) => inputRotation === 'hadamard');
    expect(rotated.map(({ name }) => name)).toEqual([Q]);
    const report = await validateContainer(createMemorySource(bytes), { canonical: true });
    expect(report.problems).toEqual([]);
  });

  it.each<[string, Parameters<typeof makeSpec>[0]]>([
    ['TENSOR_MISSING', { tensors: makeSpec().tensors.slice(1) }],
    ['TENSOR_MISMATCH', { architecture: { ...ARCHITECTURE, hiddenSize: 40 } }],
    ['TENSOR_DUPLICATE', { tensors: [...makeSpec().tensors, makeSpec().tensors[0]!] }],
    [
      'TENSOR_GROUP_SIZE',
      { tensors: [{ name: 'x', shape: [1, 1], encoding: { kind: 'int8', groupSize: 7 }, activation: null }] },
    ],
    ['PROVENANCE_HASH', { provenance: { ...makeSpec().provenance, sourceSha256: '' } }],
    ['NAME_INVALID', { metadata: { 'a b': '' } }],
    ['ASSET_LENGTH', { assets: [{ role: 'license', mediaType: 'text/plain', bytes: new Uint8Array(0) }] }],
    ['SPECIAL_TOKENS', { specialTokens: { bos: 99, eos: [], pad: null, addBos: false } }],
    ['INPUT_ROTATION_INVALID', { tensors: rotate('model.norm.weight') }],
    ['INPUT_ROTATION_INVALID', { tensors: rotate('model.embed_tokens.weight') }],
    ['INPUT_ROTATION_INVALID', { tensors: rotate('lm_head.weight') }],
  ])('refuses a wrong specification before it writes: %s', async (code, change) => {
    const sink = createMemorySink();
    await expect(createContainerWriter(makeSpec(change), sink)).rejects.toMatchObject({ code });
    expect(() => sink.bytes()).toThrow(DuobitError);
  });
});
