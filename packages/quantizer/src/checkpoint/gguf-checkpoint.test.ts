// GGUF files through openCheckpoint: the same model as the Hugging Face folder it came from, and every refusal.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Architecture,
  createMemorySource,
  DuobitError,
  f32ToBf16,
  f32ToF16,
  type RopeScaling,
} from '@duobit/format';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Checkpoint } from './checkpoint.ts';
import { llama3Factors, toHuggingFaceName } from './gguf-architecture.ts';
import { readGguf } from './gguf-checkpoint.ts';
import { DEQUANTIZE } from './gguf-dequantize.ts';
import { openCheckpoint } from './open.ts';
import { type GgufField, type GgufTensorSpec, writeGguf } from './testing/gguf-writer.ts';
import { expectFailure } from './testing/rejects.ts';
import {
  ARCHITECTURE,
  interleaveHeads,
  METADATA,
  makeTensors,
  makeValues,
  toGguf,
} from './testing/small-llama.ts';

type Pairs = Record<string, GgufField>;

function withMetadata(changes: Pairs, removed: readonly string[] = []): [string, GgufField][] {
  const all = new Map([...METADATA, ...Object.entries(changes)]);
  for (const key of removed) all.delete(key);
  return [...all];
}

const TENSORS = makeTensors().map((tensor) => toGguf(tensor));

function build(
  changes: Pairs = {},
  tensors: readonly GgufTensorSpec[] = TENSORS,
  removed: readonly string[] = [],
) {
  return writeGguf({ metadata: withMetadata(changes, removed), tensors });
}

const open = (bytes: Uint8Array): Promise<Checkpoint> =>
  readGguf(createMemorySource(bytes, 'm.gguf'), 'm.gguf');
const refused = (bytes: Uint8Array, code: string, ...named: string[]) =>
  expectFailure(() => open(bytes), code, 'm.gguf', ...named);

const u32 = (value: number): GgufField => ({ type: 'u32', value });
const f32 = (value: number): GgufField => ({ type: 'f32', value });
const text = (value: string): GgufField => ({ type: 'string', value });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'duobit-gguf-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a GGUF checkpoint', () => {
  it('gives the tensors of the model that was converted, halves of heads put back', async () => {
    const file = path.join(folder, 'small.gguf');
    await writeFile(file, build());
    const checkpoint = await openCheckpoint(file);
    expect(checkpoint).toMatchObject({
      kind: 'gguf',
      name: 'small.gguf',
      path: file,
      architecture: ARCHITECTURE,
    });
    expect(checkpoint.specialTokens).toEqual({ bos: null, eos: [], pad: null, addBos: false });
    expect(await checkpoint.readAsset('tokenizer')).toBeNull();
    const tensors = makeTensors();
    expect(checkpoint.tensorNames).toEqual(tensors.map(({ name }) => name));
    for (const { name, shape, values } of tensors) {
      expect(checkpoint.tensorInfo(name)).toEqual({
        name,
        shape,
        encoding: { kind: 'f32' },
        activation: null,
      });
      expect(await checkpoint.readF32(name)).toEqual(values);
      const { planes } = await checkpoint.readTensor(name);
      expect(planes.dense).toEqual(new Uint8Array(values.buffer));
    }
    await checkpoint.close();
  });

  it('reads any run of rows of an interleaved matrix', async () => {
    const name = 'model.layers.1.self_attn.q_proj.weight';
    const q = makeTensors().find((tensor) => tensor.name === name)!.values;
    const checkpoint = await open(build());
    for (let start = 0; start <= 32; start++) {
      for (let end = start; end <= 32; end++) {
        expect(await checkpoint.readRows(name, start, end)).toEqual(q.slice(start * 32, end * 32));
      }
    }
  });

  it.each([
    ['f16', 1, f32ToF16],
    ['bf16', 30, f32ToBf16],
  ] as const)('keeps %s as stored, rows in Hugging Face order', async (kind, type, convert) => {
    const encode = (values: Float32Array) => new Uint8Array(Uint16Array.from(values, convert).buffer);
    const tensors = makeTensors();
    const checkpoint = await open(
      build(
        {},
        tensors.map((tensor) => toGguf(tensor, { type, encode })),
      ),
    );
    for (const { name, values } of tensors) {
      expect(checkpoint.tensorInfo(name).encoding).toEqual({ kind });
      expect((await checkpoint.readTensor(name)).planes.dense).toEqual(encode(values));
      expect(await checkpoint.readF32(name)).toEqual(values);
    }
  });

  it('decodes block formats to f32, with rows of blocks put back as wholes', async () => {
    // Q8_0 with scale 1/64 holds the values exactly: they are whole numbers over 64.
    const encode = (values: Float32Array): Uint8Array => {
      const bytes: number[] = [];
      for (let at = 0; at < values.length; at += 32) {
        bytes.push(0x00, 0x24, ...Array.from(values.subarray(at, at + 32), (value) => (value * 64) & 255));
      }
      return Uint8Array.from(bytes);
    };
    const tensors = makeTensors();
    const specs = tensors.map((tensor) =>
      tensor.shape.length === 2 ? toGguf(tensor, { type: 8, encode }) : toGguf(tensor),
    );
    const checkpoint = await open(build({}, specs));
    for (const { name, values } of tensors) {
      expect(checkpoint.tensorInfo(name).encoding).toEqual({ kind: 'f32' });
      expect(await checkpoint.readF32(name)).toEqual(values);
      expect((await checkpoint.readTensor(name)).planes.dense).toEqual(new Uint8Array(values.buffer));
    }
  });

  it('decodes matrices of several chunks like their rows', async () => {
    // 24,576 x 384 weights are 10 MB stored: more than is read at a time.
    const rows = 24_576;
    const columns = 384;
    const data = Uint8Array.from({ length: (rows * columns * 34) / 32 }, (_, i) =>
      i % 34 === 1 ? 0x24 : (i * 7) & 63,
    );
    const matrix = { name: 'token_embd.weight', dimensions: [columns, rows], type: 8, data };
    const architecture: Architecture = {
      ...ARCHITECTURE,
      vocabularySize: rows,
      hiddenSize: columns,
      blockCount: 1,
      headSize: 96,
      tiedHead: true,
    };
    const rest = makeTensors(architecture)
      .slice(1)
      .map((tensor) => toGguf(tensor));
    const changes = { 'llama.embedding_length': u32(columns), 'llama.block_count': u32(1) };
    const checkpoint = await open(build(changes, [matrix, ...rest]));
    const whole = await checkpoint.readF32('model.embed_tokens.weight');
    const expected = new Float32Array(rows * columns);
    DEQUANTIZE.Q8_0!(data, expected, 0);
    expect(Buffer.from(whole.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
    const part = await checkpoint.readRows('model.embed_tokens.weight', 20_000, 20_003);
    expect(part).toEqual(expected.slice(20_000 * columns, 20_003 * columns));
  });

  it('hashes stored bytes in the order of Hugging Face names', async () => {
    const bytes = build();
    const plain = await open(bytes);
    const reordered = await open(build({}, [...TENSORS].reverse()));
    expect(await reordered.weightsSha256()).toBe(await plain.weightsSha256());
    const other = bytes.slice();
    other[other.length - 40]! ^= 1;
    expect(await (await open(other)).weightsSha256()).not.toBe(await plain.weightsSha256());
  });

  it('finds a NaN, and where it is in Hugging Face order', async () => {
    const name = 'model.layers.0.self_attn.k_proj.weight';
    const tensors = makeTensors();
    tensors.find((tensor) => tensor.name === name)!.values[(8 + 3) * 32 + 5] = Number.NaN;
    const checkpoint = await open(
      build(
        {},
        tensors.map((tensor) => toGguf(tensor)),
      ),
    );
    await expectFailure(() => checkpoint.readF32(name), 'CHECKPOINT_NOT_FINITE', name, '[11, 5] is NaN');
  });
});

describe('the architecture in GGUF metadata', () => {
  it('ties the head when output.weight is absent', async () => {
    const checkpoint = await open(
      build(
        {},
        TENSORS.filter(({ name }) => name !== 'output.weight'),
      ),
    );
    expect(checkpoint.architecture.tiedHead).toBe(true);
    expect(checkpoint.tensorNames).not.toContain('lm_head.weight');
  });

  it.each<[Pairs, Partial<Architecture>]>([
    [{ 'llama.rope.freq_base': f32(500_000) }, { ropeTheta: 500_000 }],
    [{ 'llama.attention.sliding_window': u32(16) }, { family: 'mistral', slidingWindow: 16 }],
    [{ 'llama.attention.key_length': u32(8), 'llama.rope.dimension_count': u32(8) }, { headSize: 8 }],
    [{ 'llama.attention.head_count_kv': { type: 'i32s', value: [2, 2] } }, { kvHeadCount: 2 }],
    [{ 'llama.expert_count': u32(0) }, { family: 'llama' }],
    [
      { 'llama.rope.scaling.type': text('linear'), 'llama.rope.scaling.factor': f32(4) },
      { ropeScaling: { kind: 'linear', factor: 4 } },
    ],
    [{ 'llama.rope.scale_linear': f32(2) }, { ropeScaling: { kind: 'linear', factor: 2 } }],
    [{ 'llama.rope.scaling.type': text('none') }, { ropeScaling: null }],
    [{ 'llama.rope.scaling.factor': f32(4) }, { ropeScaling: { kind: 'linear', factor: 4 } }],
    [{ 'llama.rope.scaling.factor': f32(0) }, { ropeScaling: null }],
    [{ 'llama.rope.scaling.type': text('none'), 'llama.rope.scaling.factor': f32(4) }, { ropeScaling: null }],
    [{ 'llama.rope.scaling.type': text('none'), 'llama.rope.scale_linear': f32(4) }, { ropeScaling: null }],
  ])('%j', async (changes, expected) => {
    expect((await open(build(changes))).architecture).toMatchObject(expected);
  });

  const factors = (values: readonly number[]): GgufTensorSpec => ({
    name: 'rope_freqs.weight',
    dimensions: [values.length],
    type: 0,
    data: new Uint8Array(Float32Array.from(values).buffer),
  });

  it.each([
    [8, 8192, 500_000],
    [32, 8192, 500_000],
    [4, 2048, 10_000],
  ])(
    'finds Llama 3 scaling by %d from a context of %d behind its factors',
    async (factor, context, theta) => {
      const scaling: RopeScaling = {
        kind: 'llama3',
        factor,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalContextLength: context,
      };
      const rope = factors([...llama3Factors(scaling, 8, theta)]);
      const checkpoint = await open(build({ 'llama.rope.freq_base': f32(theta) }, [...TENSORS, rope]));
      const found = checkpoint.architecture.ropeScaling;
      // With few pairs several contexts give the same factors; what counts is that the factors come back.
      expect(found).toMatchObject({ kind: 'llama3', factor });
      if (found?.kind !== 'llama3') throw new Error('not reached');
      expect([...llama3Factors(found, 8, theta)]).toEqual([...llama3Factors(scaling, 8, theta)]);
    },
  );

  it('gives the published parameters of Llama 3.2 from its 64 factors', () => {
    const scaling: RopeScaling = {
      kind: 'llama3',
      factor: 32,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    };
    const values = llama3Factors(scaling, 128, 500_000);
    // Wavelengths below 8192 / 4 are left alone, those above 8192 are stretched 32 times.
    const wavelength = (i: number) => 2 * Math.PI * 500_000 ** (i / 64);
    for (let i = 0; i < 64; i++) {
      if (wavelength(i) < 2048) expect(values[i]).toBe(1);
      else if (wavelength(i) > 8192) expect(values[i]).toBe(32);
      else expect(values[i]! > 1 && values[i]! < 32).toBe(true);
    }
  });

  it('takes factors of 1 as no scaling and refuses others', async () => {
    const plain = await open(build({}, [...TENSORS, factors([1, 1, 1, 1])]));
    expect(plain.architecture.ropeScaling).toBeNull();
    expect(plain.tensorNames).not.toContain('rope_freqs.weight');
    await refused(
      build({}, [...TENSORS, factors([1, 2, 3, 4])]),
      'CHECKPOINT_FEATURE_UNSUPPORTED',
      'rope_freqs',
    );
    await refused(build({}, [...TENSORS, factors([1, 8])]), 'CHECKPOINT_FEATURE_UNSUPPORTED', 'rope_freqs');
    const halves = { ...factors([1, 1, 1, 1]), type: 1, data: new Uint8Array(8) };
    await refused(build({}, [...TENSORS, halves]), 'CHECKPOINT_TENSOR_TYPE', 'rope_freqs');
  });

  it.each<[Pairs, string, string]>([
    [{ 'general.architecture': text('qwen3') }, 'CHECKPOINT_ARCHITECTURE_UNSUPPORTED', 'qwen3'],
    [{ 'llama.expert_count': u32(8) }, 'CHECKPOINT_FEATURE_UNSUPPORTED', 'expert_count'],
    [{ 'llama.rope.scaling.type': text('yarn') }, 'CHECKPOINT_FEATURE_UNSUPPORTED', 'yarn'],
    [{ 'llama.rope.dimension_count': u32(4) }, 'CHECKPOINT_FEATURE_UNSUPPORTED', 'dimension_count'],
    [{ 'llama.attention.value_length': u32(16) }, 'CHECKPOINT_FEATURE_UNSUPPORTED', 'value_length'],
    [
      { 'llama.feed_forward_length': { type: 'i32s', value: [64, 32] } },
      'CHECKPOINT_FEATURE_UNSUPPORTED',
      'feed_forward_length',
    ],
    [{ 'llama.block_count': u32(0) }, 'CHECKPOINT_CONFIG_INVALID', 'block_count'],
    [{ 'llama.block_count': u32(2 ** 31) }, 'CHECKPOINT_CONFIG_INVALID', '4096'],
    [{ 'llama.context_length': text('128') }, 'CHECKPOINT_CONFIG_INVALID', '"128"'],
    [
      { 'llama.context_length': { type: 'u64', value: 2n ** 60n } },
      'CHECKPOINT_CONFIG_INVALID',
      '1152921504606846976',
    ],
    [{ 'llama.attention.head_count': u32(5) }, 'CHECKPOINT_CONFIG_INVALID', 'embedding length 32'],
    [{ 'llama.embedding_length': u32(64) }, 'CHECKPOINT_TENSOR_SHAPE', 'token_embd.weight'],
    [{ 'split.count': { type: 'u16', value: 3 } }, 'GGUF_SPLIT', '3 parts'],
  ])('refuses %o as %s', async (changes, code, named) => {
    await refused(build(changes), code, named);
  });

  it('refuses a model without an architecture, a tensor too few, and a tensor too many', async () => {
    await refused(
      build({}, TENSORS, ['general.architecture']),
      'CHECKPOINT_CONFIG_INVALID',
      'general.architecture',
    );
    await refused(build({}, TENSORS, ['llama.context_length']), 'CHECKPOINT_CONFIG_INVALID', 'it is missing');
    const without = (name: string) => TENSORS.filter((tensor) => tensor.name !== name);
    await refused(
      build({}, without('blk.1.ffn_up.weight')),
      'CHECKPOINT_TENSOR_MISSING',
      'model.layers.1.mlp.up_proj.weight is missing',
    );
    await refused(
      build({}, without('token_embd.weight')),
      'CHECKPOINT_TENSOR_MISSING',
      'model.embed_tokens.weight',
    );
    const bias = { name: 'blk.0.attn_q.bias', dimensions: [32], type: 0, data: new Uint8Array(128) };
    await refused(build({}, [...TENSORS, bias]), 'CHECKPOINT_TENSOR_UNEXPECTED', 'blk.0.attn_q.bias');
  });

  it('leaves names alone that it does not know', () => {
    expect(toHuggingFaceName('blk.12.ffn_gate.weight')).toBe('model.layers.12.mlp.gate_proj.weight');
    for (const name of ['blk.0.attn_q.bias', 'blk.0.constructor.weight', 'toString', 'blk.x.attn_q.weight']) {
      expect(toHuggingFaceName(name)).toBe(name);
    }
  });
});

describe('bad GGUF files', () => {
  it('opens by extension or magic, and says what is wrong', async () => {
    const file = path.join(folder, 'bad.gguf');
    await writeFile(file, 'not a model');
    await expectFailure(() => openCheckpoint(file), 'GGUF_MAGIC', 'bad.gguf');
    await writeFile(file, build().subarray(0, 3000));
    await expectFailure(() => openCheckpoint(file), 'GGUF_TRUNCATED', 'bad.gguf');
    const renamed = path.join(folder, 'renamed.bin');
    await writeFile(renamed, build());
    await (await openCheckpoint(renamed)).close();
  });

  it('answers any damage with a DuobitError or a model that can be read', async () => {
    const bytes = build({
      'tokenizer.ggml.model': text('gpt2'),
      'tokenizer.ggml.tokens': { type: 'strings', value: ['a', 'b'] },
      'tokenizer.ggml.merges': { type: 'strings', value: [] },
    });
    const headerEnd = 2600;
    const edit = fc.tuple(fc.nat(headerEnd), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 2 }), async (edits) => {
        const damaged = bytes.slice();
        for (const [at, value] of edits) damaged[at] = value;
        const checkpoint = await open(damaged).catch((error: unknown) => {
          expect(error).toBeInstanceOf(DuobitError);
          return null;
        });
        for (const name of checkpoint?.tensorNames ?? []) await checkpoint!.readTensor(name);
      }),
      { numRuns: 600 },
    );
  });
});

describe('interleaveHeads, the test side of the permutation', () => {
  it('puts rows i and i + half of a head beside each other', () => {
    const rows = makeValues(8, 0);
    expect([...interleaveHeads(rows, 1, 4)]).toEqual([0, 2, 1, 3, 4, 6, 5, 7].map((row) => rows[row]));
  });
});
