// A Hugging Face folder: config.json, tokenizer files, and weights in model.safetensors or the shards of an index.
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type AssetRole, type ByteSource, DuobitError } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { type FoundTensor, matchTensors } from './architecture.ts';
import type { Checkpoint } from './checkpoint.ts';
import { readConfig } from './hf-config.ts';
import { readSafetensorsHeader, type SafetensorsEntry } from './safetensors.ts';
import { readSpecialTokens } from './special-tokens.ts';
import { StoredCheckpoint } from './stored-checkpoint.ts';
import type { StoredTensor } from './stored-tensor.ts';
import { isObject, type JsonObject, readJsonObject, readSmallFile } from './strict-json.ts';
import type { DenseKind } from './values.ts';

const MAX_CONFIG_BYTES = 16 * 1024 * 1024;
const MAX_TOKENIZER_BYTES = 512 * 1024 * 1024;
const MAX_INDEX_BYTES = 256 * 1024 * 1024;

export const WEIGHTS_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

const DENSE_KINDS: Readonly<Record<string, DenseKind>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

const ASSET_FILES = {
  tokenizer: ['tokenizer.json'],
  'tokenizer-config': ['tokenizer_config.json'],
  'generation-config': ['generation_config.json'],
  license: ['LICENSE', 'LICENSE.txt', 'LICENSE.md'],
} as const satisfies Partial<Record<AssetRole, readonly string[]>>;

interface HeldTensor extends FoundTensor {
  readonly entry: SafetensorsEntry;
  readonly file: ByteSource;
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => null))?.isFile() === true;
}

/** Assets are optional: an empty file is none. */
async function hasContent(file: string): Promise<boolean> {
  const info = await stat(file).catch(() => null);
  return info?.isFile() === true && info.size > 0;
}

async function readOptionalJson(file: string, maxBytes: number): Promise<JsonObject | null> {
  return (await exists(file)) ? readJsonObject(file, maxBytes) : null;
}

/** @throws DuobitError as `openCheckpoint` does. */
export async function openHuggingFaceFolder(folder: string, opened: string): Promise<Checkpoint> {
  const name = path.basename(path.resolve(folder));
  const config = await readJsonObject(path.join(folder, 'config.json'), MAX_CONFIG_BYTES);
  const architecture = readConfig(config, path.join(folder, 'config.json'));
  const tokenizerConfig = await readOptionalJson(
    path.join(folder, 'tokenizer_config.json'),
    MAX_CONFIG_BYTES,
  );
  const specialTokens = readSpecialTokens(
    {
      config,
      generationConfig: await readOptionalJson(path.join(folder, 'generation_config.json'), MAX_CONFIG_BYTES),
      tokenizer: await readOptionalJson(path.join(folder, 'tokenizer.json'), MAX_TOKENIZER_BYTES),
      tokenizerConfig,
    },
    architecture.vocabularySize,
    folder,
  );
  const files: ByteSource[] = [];
  try {
    // transformers, too, takes the single file where a folder has both.
    const sharded =
      !(await exists(path.join(folder, WEIGHTS_FILE))) && (await exists(path.join(folder, INDEX_FILE)));
    const found = sharded ? await openShards(folder, files) : await openSingleFile(folder, files);
    return new StoredCheckpoint({
      kind: 'huggingface',
      path: opened,
      name,
      architecture,
      specialTokens,
      tensors: matchTensors(architecture, found, folder).map(toStoredTensor),
      readAsset: (role) => readFolderAsset(folder, role, tokenizerConfig),
      sources: files,
    });
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}

async function openSingleFile(folder: string, files: ByteSource[]): Promise<Map<string, HeldTensor>> {
  const weights = path.join(folder, WEIGHTS_FILE);
  if (!(await exists(weights))) {
    throw new DuobitError(
      'CHECKPOINT_WEIGHTS_MISSING',
      `the folder has neither ${WEIGHTS_FILE} nor ${INDEX_FILE}`,
      { source: folder, remedy: 'Download the safetensors weights; .bin and .pth files are not read' },
    );
  }
  const file = await createFileSource(weights);
  files.push(file);
  return holdEntries(file, await readSafetensorsHeader(file));
}

function holdEntries(file: ByteSource, entries: Map<string, SafetensorsEntry>): Map<string, HeldTensor> {
  const held = new Map<string, HeldTensor>();
  for (const [name, entry] of entries) {
    held.set(name, { fileName: name, source: file.name, shape: entry.shape, entry, file });
  }
  return held;
}

async function openShards(folder: string, files: ByteSource[]): Promise<Map<string, HeldTensor>> {
  const indexFile = path.join(folder, INDEX_FILE);
  const fail = (code: string, message: string, where?: string): DuobitError =>
    new DuobitError(code, message, {
      source: indexFile,
      where,
      remedy: 'Download the whole checkpoint again',
    });
  const { weight_map: weightMap } = await readJsonObject(indexFile, MAX_INDEX_BYTES);
  if (!isObject(weightMap)) throw fail('SAFETENSORS_INDEX_INVALID', 'the index has no weight_map object');
  const shards = new Map<string, Map<string, HeldTensor>>();
  const found = new Map<string, HeldTensor>();
  for (const [name, shardName] of Object.entries(weightMap)) {
    // A shard lies beside its index; anything with a path in it could lead out of the folder.
    const plain =
      typeof shardName === 'string' && shardName.endsWith('.safetensors') && !/[\\/]/.test(shardName);
    if (!plain)
      throw fail('SAFETENSORS_INDEX_INVALID', `the index sends it to ${JSON.stringify(shardName)}`, name);
    let shard = shards.get(shardName);
    if (shard === undefined) {
      const shardFile = path.join(folder, shardName);
      if (!(await exists(shardFile))) {
        throw fail('SAFETENSORS_SHARD_MISSING', `the index names ${shardName}, which the folder lacks`, name);
      }
      const file = await createFileSource(shardFile);
      files.push(file);
      shard = holdEntries(file, await readSafetensorsHeader(file));
      shards.set(shardName, shard);
    }
    const tensor = shard.get(name);
    if (tensor === undefined) {
      throw fail(
        'SAFETENSORS_INDEX_INVALID',
        `the index sends it to ${shardName}, which does not hold it`,
        name,
      );
    }
    found.set(name, tensor);
  }
  return found;
}

function toStoredTensor([name, { entry, file }]: [string, HeldTensor]): StoredTensor {
  const encoding = Object.hasOwn(DENSE_KINDS, entry.dtype) ? DENSE_KINDS[entry.dtype] : undefined;
  if (encoding === undefined) {
    throw new DuobitError('CHECKPOINT_TENSOR_TYPE', `the tensor is stored as ${entry.dtype}`, {
      source: file.name,
      where: name,
      remedy: 'Use a checkpoint in F32, F16 or BF16',
    });
  }
  const rows = entry.shape.length === 1 ? 1 : entry.shape[0]!;
  return {
    name,
    shape: entry.shape,
    encoding,
    dequantize: null,
    source: file,
    offset: entry.offset,
    rows,
    columns: entry.shape.at(-1)!,
    rowBytes: entry.length / rows,
    interleavedHeadSize: null,
  };
}

async function readFolderAsset(
  folder: string,
  role: AssetRole,
  tokenizerConfig: JsonObject | null,
): Promise<Uint8Array<ArrayBuffer> | null> {
  if (role === 'chat-template') {
    const file = path.join(folder, 'chat_template.jinja');
    if (await hasContent(file)) return readSmallFile(file, MAX_CONFIG_BYTES);
    const template = chatTemplateOf(tokenizerConfig);
    return template === null ? null : new TextEncoder().encode(template);
  }
  for (const fileName of ASSET_FILES[role]) {
    const file = path.join(folder, fileName);
    if (await hasContent(file)) return readSmallFile(file, MAX_TOKENIZER_BYTES);
  }
  return null;
}

/** A template is a string, or one of several under names, of which "default" is meant for conversations. */
export function chatTemplateOf(tokenizerConfig: JsonObject | null): string | null {
  const value = tokenizerConfig?.chat_template;
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return null;
  const named: unknown = value.find((item) => isObject(item) && item.name === 'default');
  return isObject(named) && typeof named.template === 'string' ? named.template : null;
}
