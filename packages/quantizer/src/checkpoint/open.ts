// The one way to open a full-precision checkpoint: look at what the path is, and hand it to its reader.
import { open, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DuobitError, isRemoteAddress } from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';
import { openGguf } from './gguf-checkpoint.ts';
import { GGUF_MAGIC } from './gguf-header.ts';
import { INDEX_FILE, openHuggingFaceFolder, WEIGHTS_FILE } from './hf-folder.ts';

const WHAT_TO_GIVE = 'Give a Hugging Face folder (config.json and safetensors weights) or a .gguf file';

function unknownFormat(message: string, source: string, remedy = WHAT_TO_GIVE): DuobitError {
  return new DuobitError('CHECKPOINT_FORMAT_UNKNOWN', message, { source, remedy });
}

/**
 * Opens a Hugging Face folder (or a file of it: config.json, model.safetensors or its index) or a GGUF file. The
 * architecture, the presence of every tensor, shapes and types are checked; weights are not read yet.
 *
 * @throws DuobitError
 * - about the path: `CHECKPOINT_NOT_FOUND`, `CHECKPOINT_FORMAT_UNKNOWN`, `CHECKPOINT_IO`
 * - about what it describes: `CHECKPOINT_JSON_INVALID`, `CHECKPOINT_FILE_TOO_LARGE`, `CHECKPOINT_CONFIG_INVALID`,
 *   `CHECKPOINT_ARCHITECTURE_UNSUPPORTED`, `CHECKPOINT_FEATURE_UNSUPPORTED`
 * - about its tensors: `CHECKPOINT_WEIGHTS_MISSING`, `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`,
 *   `CHECKPOINT_TENSOR_TYPE`, `CHECKPOINT_TENSOR_UNEXPECTED`
 * - about the files' own structure: `SAFETENSORS_*`, `GGUF_*`, and those of `createFileSource`
 */
export async function openCheckpoint(checkpointPath: string): Promise<Checkpoint> {
  if (isRemoteAddress(checkpointPath))
    throw new DuobitError('CHECKPOINT_NOT_FOUND', 'checkpoints are not fetched from servers', {
      source: checkpointPath,
      remedy:
        'Download it first, for example with `hf download user/name --local-dir folder`, and give the folder',
    });
  const info = await stat(checkpointPath).catch((cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT' || cause.code === 'ENOTDIR';
    throw new DuobitError(
      missing ? 'CHECKPOINT_NOT_FOUND' : 'CHECKPOINT_IO',
      missing ? 'there is no such file or folder' : `the path cannot be read: ${cause.code ?? cause.message}`,
      { source: checkpointPath, remedy: missing ? WHAT_TO_GIVE : 'Check the permissions of the path', cause },
    );
  });
  if (info.isDirectory()) return openFolder(checkpointPath);
  if (!info.isFile()) throw unknownFormat('the path is neither a file nor a folder', checkpointPath);
  return openFile(checkpointPath, info.size);
}

async function openFolder(folder: string): Promise<Checkpoint> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    throw new DuobitError('CHECKPOINT_IO', `the folder cannot be listed: ${cause.code ?? cause.message}`, {
      source: folder,
      remedy: 'Check the permissions of the folder',
      cause,
    });
  });
  if (names.includes('config.json')) return openHuggingFaceFolder(folder, folder);
  const gguf = names.filter((name) => name.endsWith('.gguf')).sort();
  throw gguf[0] === undefined
    ? unknownFormat(`the folder has no config.json among its ${names.length} entries`, folder)
    : unknownFormat(
        `the folder has no config.json but ${gguf.length} GGUF file${gguf.length > 1 ? 's' : ''}`,
        folder,
        `Give the file itself, for example ${path.join(folder, gguf[0])}`,
      );
}

async function openFile(file: string, size: number): Promise<Checkpoint> {
  if (size === 0) throw unknownFormat('the file is empty', file);
  const start = await readStart(file);
  if (start.startsWith(GGUF_MAGIC) || file.toLowerCase().endsWith('.gguf')) return openGguf(file);
  const base = path.basename(file);
  if (base === 'config.json' || base === WEIGHTS_FILE || base === INDEX_FILE) {
    return openHuggingFaceFolder(path.dirname(file), file);
  }
  if (start.slice(4) === 'DUO1') {
    throw unknownFormat(
      'the file is a Duobit container, whose weights are quantized already',
      file,
      'Give the checkpoint that the container was made from',
    );
  }
  throw unknownFormat('the file is neither GGUF nor part of a Hugging Face folder', file);
}

/** The first 8 bytes of a file, as latin-1 text. */
async function readStart(file: string): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(8), 0, 8, 0);
      return buffer.toString('latin1', 0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new DuobitError('CHECKPOINT_IO', 'the file cannot be read', {
      source: file,
      remedy: 'Check the permissions of the file',
      cause,
    });
  }
}
