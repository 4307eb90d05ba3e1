// Hugging Face folders through openCheckpoint: one file or shards, all dense types, assets, and every refusal.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { f32ToBf16, f32ToF16 } from '@duobit/format';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from './open.ts';
import { expectFailure } from './testing/rejects.ts';
import { type SafetensorsTensor, writeSafetensors } from './testing/safetensors-writer.ts';
import { ARCHITECTURE, CONFIG, makeTensors, toSafetensors, writeFolder } from './testing/small-llama.ts';

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'duobit-folder-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
const fresh = (): string => path.join(root, `model-${count++}`);

const Q = 'model.layers.0.self_attn.q_proj.weight';

function narrow(tensor: SafetensorsTensor, dtype: 'F16' | 'BF16'): SafetensorsTensor {
  const values = new Float32Array(new Uint8Array(tensor.data).buffer);
  const codes = Uint16Array.from(values, dtype === 'F16' ? f32ToF16 : f32ToBf16);
  return { ...tensor, dtype, data: new Uint8Array(codes.buffer) };
}

describe('openCheckpoint on a Hugging Face folder', () => {
  it('reads architecture, names in order of first use, and every value', async () => {
    const checkpoint = await openCheckpoint(await writeFolder(fresh()));
    expect(checkpoint).toMatchObject({ kind: 'huggingface', architecture: ARCHITECTURE, name: 'model-0' });
    expect(checkpoint.specialTokens).toEqual({ bos: 1, eos: [2, 3], pad: null, addBos: false });
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

  it('reads rows of a matrix, and a vector as one row', async () => {
    const checkpoint = await openCheckpoint(await writeFolder(fresh()));
    const q = makeTensors().find(({ name }) => name === Q)!.values;
    expect(await checkpoint.readRows(Q, 3, 17)).toEqual(q.slice(3 * 32, 17 * 32));
    expect(await checkpoint.readRows(Q, 32, 32)).toEqual(new Float32Array(0));
    expect(await checkpoint.readRows('model.norm.weight', 0, 1)).toHaveLength(32);
    await expectFailure(() => checkpoint.readRows(Q, 30, 33), 'CHECKPOINT_ROW_RANGE', Q, '33');
    await expectFailure(() => checkpoint.readRows(Q, -1, 3), 'CHECKPOINT_ROW_RANGE', Q);
    await expectFailure(() => checkpoint.readRows(Q, 1, 1.5), 'CHECKPOINT_ROW_RANGE', Q);
    await expectFailure(() => checkpoint.readF32('nothing'), 'CHECKPOINT_TENSOR_UNKNOWN', 'nothing');
    await checkpoint.close();
  });

  it.each(['F16', 'BF16'] as const)('keeps %s as stored and widens it for readers of f32', async (dtype) => {
    const tensors = makeTensors().map((tensor) => narrow(toSafetensors(tensor), dtype));
    const checkpoint = await openCheckpoint(await writeFolder(fresh(), { tensors }));
    expect(checkpoint.tensorInfo(Q).encoding).toEqual({ kind: dtype.toLowerCase() });
    const { planes } = await checkpoint.readTensor(Q);
    expect(planes.dense).toEqual(tensors.find(({ name }) => name === Q)!.data);
    for (const { name, values } of makeTensors()) expect(await checkpoint.readF32(name)).toEqual(values);
    await checkpoint.close();
  });

  it('hashes the weight bytes in name order, whatever their order in the file', async () => {
    const tensors = makeTensors().map(toSafetensors);
    const hash = createHash('sha256');
    for (const { data } of [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) hash.update(data);
    const expected = hash.digest('hex');
    for (const order of [tensors, [...tensors].reverse()]) {
      const checkpoint = await openCheckpoint(await writeFolder(fresh(), { tensors: order }));
      expect(await checkpoint.weightsSha256()).toBe(expected);
      await expect(checkpoint.weightsSha256(AbortSignal.abort(new Error('enough')))).rejects.toThrow(
        'enough',
      );
      await checkpoint.close();
    }
  });

  it('opens a file of the folder as the folder', async () => {
    const folder = await writeFolder(fresh());
    for (const name of ['config.json', 'model.safetensors']) {
      const checkpoint = await openCheckpoint(path.join(folder, name));
      expect(checkpoint.name).toBe(path.basename(folder));
      await checkpoint.close();
    }
  });

  it('gives the assets it has, and null for the others', async () => {
    const text = async (files: Record<string, string>, role: 'chat-template' | 'tokenizer' | 'license') => {
      const checkpoint = await openCheckpoint(await writeFolder(fresh(), { files }));
      const bytes = await checkpoint.readAsset(role);
      await checkpoint.close();
      return bytes === null ? null : new TextDecoder().decode(bytes);
    };
    const config = (template: unknown) => ({
      'tokenizer_config.json': JSON.stringify({ chat_template: template }),
    });
    expect(await text({ 'tokenizer.json': '{"a": 1}' }, 'tokenizer')).toBe('{"a": 1}');
    expect(await text({}, 'tokenizer')).toBeNull();
    expect(await text({ 'LICENSE.txt': 'free' }, 'license')).toBe('free');
    expect(await text({ ...config('old'), 'chat_template.jinja': 'new' }, 'chat-template')).toBe('new');
    expect(await text(config('old'), 'chat-template')).toBe('old');
    const named = [
      { name: 'tool_use', template: 't' },
      { name: 'default', template: 'd' },
    ];
    expect(await text(config(named), 'chat-template')).toBe('d');
    expect(await text(config(7), 'chat-template')).toBeNull();
  });

  it('takes the head as embedding when a tied matrix is stored under that name', async () => {
    const config = { ...CONFIG, tie_word_embeddings: true };
    const tied = makeTensors({ ...ARCHITECTURE, tiedHead: true });
    const stored = tied.map(toSafetensors);
    const tensors = stored.map((tensor, i) => (i === 0 ? { ...tensor, name: 'lm_head.weight' } : tensor));
    const checkpoint = await openCheckpoint(await writeFolder(fresh(), { config, tensors }));
    expect(checkpoint.tensorNames).toEqual(tied.map(({ name }) => name));
    expect(await checkpoint.readF32('model.embed_tokens.weight')).toEqual(tied[0]!.values);
    await checkpoint.close();
  });

  it('reads the TinyStories fixture', async () => {
    const folder = fileURLToPath(new URL('../../../../fixtures/tinystories-656k', import.meta.url));
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.architecture).toMatchObject({
      hiddenSize: 128,
      blockCount: 2,
      kvHeadCount: 4,
      tiedHead: true,
    });
    expect(checkpoint.specialTokens).toEqual({ bos: 1, eos: [2], pad: 0, addBos: true });
    let parameters = 0;
    for (const name of checkpoint.tensorNames) parameters += (await checkpoint.readF32(name)).length;
    expect(parameters).toBe(656_000);
    await checkpoint.close();
  });
});

describe('shards', () => {
  async function writeShards(folder: string, map?: Record<string, string>): Promise<string> {
    const tensors = makeTensors().map(toSafetensors);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'config.json'), JSON.stringify(CONFIG));
    const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
    const weightMap: Record<string, string> = {};
    for (const [index, name] of names.entries()) {
      const part = tensors.filter((_, i) => i % 2 === index);
      for (const tensor of part) weightMap[tensor.name] = name;
      await writeFile(path.join(folder, name), writeSafetensors(part));
    }
    const index = { metadata: { total_size: 1 }, weight_map: { ...weightMap, ...map } };
    await writeFile(path.join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
    return folder;
  }

  it('are read through their index', async () => {
    const checkpoint = await openCheckpoint(await writeShards(fresh()));
    for (const { name, values } of makeTensors()) expect(await checkpoint.readF32(name)).toEqual(values);
    await checkpoint.close();
  });

  it('are not looked for beside model.safetensors', async () => {
    const folder = await writeFolder(fresh(), {
      files: { 'model.safetensors.index.json': '{"weight_map": {}}' },
    });
    await (await openCheckpoint(folder)).close();
  });

  it('must be there', async () => {
    const folder = await writeShards(fresh());
    await unlink(path.join(folder, 'model-00002-of-00002.safetensors'));
    await expectFailure(() => openCheckpoint(folder), 'SAFETENSORS_SHARD_MISSING', 'model-00002-of-00002');
  });

  it('must be whole', async () => {
    const folder = await writeShards(fresh());
    await truncate(path.join(folder, 'model-00002-of-00002.safetensors'), 5000);
    await expectFailure(() => openCheckpoint(folder), 'SAFETENSORS_TRUNCATED', 'model-00002-of-00002');
  });

  it.each([
    '../model.safetensors',
    'sub/x.safetensors',
    '/etc/passwd',
    'C:\\x.safetensors',
    'weights.bin',
    7,
  ])('cannot be %s', async (name) => {
    const folder = await writeShards(fresh(), { [Q]: name as string });
    await expectFailure(
      () => openCheckpoint(folder),
      'SAFETENSORS_INDEX_INVALID',
      Q,
      String(name).slice(0, 3),
    );
  });

  it('must hold what the index sends to them', async () => {
    const folder = await writeShards(fresh(), { [Q]: 'model-00002-of-00002.safetensors' });
    await expectFailure(() => openCheckpoint(folder), 'SAFETENSORS_INDEX_INVALID', Q, 'does not hold it');
  });

  it('need a map', async () => {
    const folder = await writeShards(fresh());
    await writeFile(path.join(folder, 'model.safetensors.index.json'), '{"weight_map": []}');
    await expectFailure(() => openCheckpoint(folder), 'SAFETENSORS_INDEX_INVALID', 'weight_map');
  });
});

describe('bad folders and paths', () => {
  it('says what a path is not', async () => {
    const folder = fresh();
    await mkdir(folder);
    await expectFailure(() => openCheckpoint(path.join(folder, 'none')), 'CHECKPOINT_NOT_FOUND', 'none');
    await expectFailure(
      () => openCheckpoint('hf:user/name'),
      'CHECKPOINT_NOT_FOUND',
      'not fetched from servers',
    );
    await expectFailure(() => openCheckpoint(folder), 'CHECKPOINT_FORMAT_UNKNOWN', 'config.json');
    await writeFile(path.join(folder, 'a.gguf'), 'x');
    await expectFailure(() => openCheckpoint(folder), 'CHECKPOINT_FORMAT_UNKNOWN', 'a.gguf');
    await writeFile(path.join(folder, 'empty'), '');
    await expectFailure(
      () => openCheckpoint(path.join(folder, 'empty')),
      'CHECKPOINT_FORMAT_UNKNOWN',
      'empty',
    );
    await writeFile(path.join(folder, 'notes.txt'), 'hello, world');
    await expectFailure(
      () => openCheckpoint(path.join(folder, 'notes.txt')),
      'CHECKPOINT_FORMAT_UNKNOWN',
      'GGUF',
    );
    await writeFile(path.join(folder, 'm.duo'), '....DUO1 and more');
    await expectFailure(
      () => openCheckpoint(path.join(folder, 'm.duo')),
      'CHECKPOINT_FORMAT_UNKNOWN',
      'quantized',
    );
    await symlink(path.join(folder, 'loop'), path.join(folder, 'loop'));
    await expectFailure(() => openCheckpoint(path.join(folder, 'loop')), 'CHECKPOINT_IO', 'loop');
  });

  it('names the JSON file that is broken', async () => {
    const folder = await writeFolder(fresh(), { files: { 'generation_config.json': '{"eos' } });
    await expectFailure(() => openCheckpoint(folder), 'CHECKPOINT_JSON_INVALID', 'generation_config.json');
    await writeFile(path.join(folder, 'generation_config.json'), '[1]');
    await expectFailure(() => openCheckpoint(folder), 'CHECKPOINT_JSON_INVALID', 'no JSON object');
    await truncate(path.join(folder, 'config.json'), 16 * 1024 * 1024 + 1);
    await expectFailure(() => openCheckpoint(folder), 'CHECKPOINT_FILE_TOO_LARGE', 'config.json');
  });

  it('names what is wrong with the weights', async () => {
    const tensors = makeTensors().map(toSafetensors);
    const open = async (changed: readonly SafetensorsTensor[], config: object = CONFIG) =>
      openCheckpoint(await writeFolder(fresh(), { tensors: changed, config }));
    const without = tensors.filter(({ name }) => name !== Q);
    await expectFailure(() => open(without), 'CHECKPOINT_TENSOR_MISSING', `${Q} is missing`);
    await expectFailure(() => open(without.slice(0, 5)), 'CHECKPOINT_TENSOR_MISSING', 'more of 21 tensors');
    const bias = {
      name: 'model.layers.0.self_attn.q_proj.bias',
      dtype: 'F32',
      shape: [1],
      data: new Uint8Array(4),
    };
    await expectFailure(() => open([...tensors, bias]), 'CHECKPOINT_TENSOR_UNEXPECTED', 'q_proj.bias');
    const inverse = { ...bias, name: 'model.layers.0.self_attn.rotary_emb.inv_freq' };
    await (await open([...tensors, inverse])).close();
    const replace = (change: Partial<SafetensorsTensor>) =>
      tensors.map((tensor) => (tensor.name === Q ? { ...tensor, ...change } : tensor));
    await expectFailure(
      () => open(replace({ shape: [16, 64] })),
      'CHECKPOINT_TENSOR_SHAPE',
      Q,
      '[16, 64]',
      '[32, 32]',
    );
    await expectFailure(() => open(replace({ dtype: 'I32' })), 'CHECKPOINT_TENSOR_TYPE', Q, 'I32');
    await expectFailure(
      () => open(tensors, { ...CONFIG, vocab_size: 7 }),
      'CHECKPOINT_TENSOR_SHAPE',
      'embed_tokens',
    );
  });

  it('needs safetensors weights, whole', async () => {
    const folder = await writeFolder(fresh());
    const weights = path.join(folder, 'model.safetensors');
    await truncate(weights, 20_000);
    await expectFailure(() => openCheckpoint(folder), 'SAFETENSORS_TRUNCATED', 'model.safetensors');
    await truncate(weights, 0);
    await expectFailure(() => openCheckpoint(folder), 'SOURCE_EMPTY', 'model.safetensors');
    await unlink(weights);
    await expectFailure(() => openCheckpoint(folder), 'CHECKPOINT_WEIGHTS_MISSING', 'model.safetensors');
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'finds %d in a weight, and where',
    async (value) => {
      const tensors = makeTensors();
      tensors.find(({ name }) => name === Q)!.values[5 * 32 + 7] = value;
      tensors.find(({ name }) => name === 'model.norm.weight')!.values[9] = value;
      const checkpoint = await openCheckpoint(
        await writeFolder(fresh(), { tensors: tensors.map(toSafetensors) }),
      );
      await expectFailure(() => checkpoint.readF32(Q), 'CHECKPOINT_NOT_FINITE', Q, `[5, 7] is ${value}`);
      await expectFailure(() => checkpoint.readRows(Q, 4, 6), 'CHECKPOINT_NOT_FINITE', '[5, 7]');
      await expectFailure(
        () => checkpoint.readF32('model.norm.weight'),
        'CHECKPOINT_NOT_FINITE',
        `[9] is ${value}`,
      );
      expect(await checkpoint.readRows(Q, 6, 8)).toHaveLength(64);
      await checkpoint.close();
    },
  );
});
