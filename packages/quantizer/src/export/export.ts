// From any model to full-precision files that other tools read: a Hugging Face folder, or one safetensors file.
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { listTensors } from '@duobit/core';
import { type ByteSink, DuobitError, elementCount, type ModelSource } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';
import { chatTemplateOf } from '../checkpoint/hf-folder.ts';
import { isObject } from '../checkpoint/strict-json.ts';
import { formatConfig, formatGenerationConfig } from './hf-config.ts';
import { type WriteHooks, writeSafetensors } from './safetensors-writer.ts';
import { formatIndex, planShards, WEIGHT_FILES } from './shards.ts';
import { stageFolder } from './staged-folder.ts';
import type { ExportDtype } from './values.ts';

/** 5 GB, the limit of transformers' own `save_pretrained` over many releases. */
export const DEFAULT_SHARD_SIZE = 5e9;

/** Options of `exportSafetensors`. */
export interface ExportOptions {
  /** Type of every tensor. Default f32, which holds each value of the reference decoder exactly. */
  readonly dtype?: ExportDtype;
  /** Replace files that exist. Default false. */
  readonly force?: boolean;
  /** Told as values are written. */
  readonly onProgress?: (progress: ExportProgress) => void;
  readonly signal?: AbortSignal;
}

/** Options of `exportFolder`. */
export interface ExportFolderOptions extends ExportOptions {
  /** Most bytes of values in one weights file, default 5 GB. A larger tensor has a file of its own. */
  readonly shardSize?: number;
}

/** How far an export is. */
export interface ExportProgress {
  readonly tensor: string;
  /** Values written, and all there are. */
  readonly done: number;
  readonly total: number;
}

/** What was written. */
export interface ExportReport {
  /** The folder or file, as it was given. */
  readonly output: string;
  /** In the order of their names. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  readonly tensors: number;
  /** Values of all tensors. */
  readonly parameters: number;
  /** Sum over `files`. */
  readonly bytes: number;
  readonly dtype: ExportDtype;
  readonly seconds: number;
}

/** A model to export: a container, or a checkpoint, which also says where it lies. */
export type ExportSource = ModelSource & { readonly path?: string };

const CONFIG = 'config.json';
const CHAT_TEMPLATE = 'chat_template.jinja';
/** Files that a folder of another model may have and that would be read together with the new ones. */
const OTHER_FILES = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  CHAT_TEMPLATE,
];

/**
 * Writes a Hugging Face folder: config.json, generation_config.json, tokenizer files, weights. Linear layers come
 * out as what their packed form decodes to, rotations of their inputs undone; the activation quantizers have no place
 * there and are left out. The folder appears when it is complete. At most one tensor, packed and decoded, is in memory.
 *
 * @throws DuobitError `EXPORT_OPTION`, `EXPORT_EXISTS`, `EXPORT_NOT_A_FOLDER`, `EXPORT_SAME_PATH`,
 * `EXPORT_TENSOR_UNSUPPORTED`, `EXPORT_NOT_FINITE`, `EXPORT_OUT_OF_RANGE`, `ABORTED`, and those of source and sink
 */
export async function exportFolder(
  source: ExportSource,
  folder: string,
  options: ExportFolderOptions = {},
): Promise<ExportReport> {
  const started = performance.now();
  const { dtype = 'f32', shardSize = DEFAULT_SHARD_SIZE, force = false, signal } = options;
  if (!Number.isSafeInteger(shardSize) || shardSize < 1) {
    throw new DuobitError('EXPORT_OPTION', `option shardSize is ${shardSize}`, {
      where: 'shardSize',
      remedy: 'Use a whole number of bytes above 0',
    });
  }
  requirePlainModel(source);
  await refuseSourceFolder(source, folder);
  const staged = await stageFolder(folder, {
    force,
    isStale: (file) => WEIGHT_FILES.test(file) || OTHER_FILES.includes(file),
  });
  try {
    const files = new Map<string, number>();
    const write = async (name: string, content: string | Uint8Array): Promise<void> => {
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      files.set(name, await writeFile(path.join(staged.path, name), (sink) => writeBytes(sink, bytes)));
    };
    const shards = planShards(source, dtype, shardSize);
    const hooks = { signal, onValues: countValues(source, options) };
    for (const { file, names } of shards) {
      const bytes = await writeFile(path.join(staged.path, file), (sink) =>
        writeSafetensors(source, names, dtype, sink, hooks),
      );
      files.set(file, bytes);
    }
    const index = formatIndex(source, dtype, shards);
    if (index !== null) await write(index.file, index.text);
    for (const [name, bytes] of await readTokenizerFiles(source)) await write(name, bytes);
    const generation = await source.readAsset('generation-config');
    await write('generation_config.json', generation ?? formatGenerationConfig(source.specialTokens));
    await write(CONFIG, formatConfig(source.architecture, source.specialTokens, dtype));
    await staged.publish(CONFIG);
    return makeReport(source, folder, dtype, files, started);
  } catch (error) {
    await staged.discard();
    throw error;
  }
}

/**
 * Writes all tensors of a model, and nothing else, as one safetensors file, which appears when it is complete.
 * @throws DuobitError as `exportFolder`
 */
export async function exportSafetensors(
  source: ExportSource,
  file: string,
  options: ExportOptions = {},
): Promise<ExportReport> {
  const started = performance.now();
  const { dtype = 'f32', force = false, signal } = options;
  const existing = await stat(file).catch(() => null);
  // The sink writes through a link, so it is the file behind it that counts.
  const target = await realpath(file).catch(() => file);
  if (existing?.isFile() && WEIGHT_FILES.test(path.basename(target))) {
    await refuseSourceFolder(source, path.dirname(target));
  }
  if (existing?.isFile() && !force) {
    throw new DuobitError('EXPORT_EXISTS', `a file of ${existing.size} bytes exists`, {
      source: file,
      remedy: 'Choose another name, or add --force to replace it',
    });
  }
  const bytes = await writeFile(file, (sink) =>
    writeSafetensors(source, source.tensorNames, dtype, sink, {
      signal,
      onValues: countValues(source, options),
    }),
  );
  return makeReport(source, file, dtype, new Map([[path.basename(file), bytes]]), started);
}

/** Runs `write` on a file sink, which it finishes, and clears up when it fails. */
async function writeFile(file: string, write: (sink: ByteSink) => Promise<number>): Promise<number> {
  const sink = await createFileSink(file);
  try {
    return await write(sink);
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

async function writeBytes(sink: ByteSink, bytes: Uint8Array): Promise<number> {
  await sink.write(0, bytes);
  await sink.finish();
  return bytes.length;
}

/** A class of transformers drops tensors that it does not know: the folder would silently be another model. */
function requirePlainModel(source: ModelSource): void {
  const known = new Set(listTensors(source.architecture).map(({ name }) => name));
  const extra = source.tensorNames.find((name) => !known.has(name));
  if (extra === undefined) return;
  throw new DuobitError('EXPORT_TENSOR_UNSUPPORTED', 'a plain Llama or Mistral has no such tensor', {
    source: source.name,
    where: `tensor ${extra}`,
    remedy: 'Write the tensors alone: give an output that ends in .safetensors',
  });
}

/** @throws DuobitError `EXPORT_SAME_PATH` when `folder` is the one that the checkpoint is read from. */
async function refuseSourceFolder(source: ExportSource, folder: string): Promise<void> {
  if (source.path === undefined) return;
  const from = await realpath(source.path).catch(() => null);
  const to = await realpath(folder).catch(() => null);
  if (from === null || to === null) return;
  const home = (await stat(from)).isDirectory() ? from : path.dirname(from);
  if (home !== to || from.toLowerCase().endsWith('.gguf')) return;
  throw new DuobitError('EXPORT_SAME_PATH', 'the output would replace files that it is made from', {
    source: folder,
    remedy: 'Write to another folder',
  });
}

/** Tokenizer, template and licence, byte for byte as the model carries them. */
async function readTokenizerFiles(source: ModelSource): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const [role, name] of [
    ['tokenizer', 'tokenizer.json'],
    ['tokenizer-config', 'tokenizer_config.json'],
    ['license', 'LICENSE'],
  ] as const) {
    const bytes = await source.readAsset(role);
    if (bytes !== null) files.set(name, bytes);
  }
  const template = await source.readAsset('chat-template');
  if (template !== null && !carriesTemplate(files.get('tokenizer_config.json'), template)) {
    files.set(CHAT_TEMPLATE, template);
  }
  return files;
}

/** A file of its own would hide the other templates of a tokenizer_config.json that holds several. */
function carriesTemplate(tokenizerConfig: Uint8Array | undefined, template: Uint8Array): boolean {
  if (tokenizerConfig === undefined) return false;
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const config: unknown = JSON.parse(decoder.decode(tokenizerConfig));
    return isObject(config) && chatTemplateOf(config) === decoder.decode(template);
  } catch {
    // Not for this program to judge: both files go out as they are.
    return false;
  }
}

function countParameters(source: ModelSource): number {
  return source.tensorNames.reduce((sum, name) => sum + elementCount(source.tensorInfo(name).shape), 0);
}

function countValues(source: ModelSource, { onProgress }: ExportOptions): WriteHooks['onValues'] {
  if (!onProgress) return undefined;
  const total = countParameters(source);
  let done = 0;
  return (tensor, count) => {
    done += count;
    onProgress({ tensor, done, total });
  };
}

function makeReport(
  source: ModelSource,
  output: string,
  dtype: ExportDtype,
  files: ReadonlyMap<string, number>,
  started: number,
): ExportReport {
  const list = [...files].map(([name, bytes]) => ({ name, bytes }));
  list.sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    output,
    files: list,
    tensors: source.tensorNames.length,
    parameters: countParameters(source),
    bytes: list.reduce((sum, { bytes }) => sum + bytes, 0),
    dtype,
    seconds: (performance.now() - started) / 1000,
  };
}
