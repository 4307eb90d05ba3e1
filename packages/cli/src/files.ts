// The small files a command reads and writes itself: texts, and the first bytes of a model to tell what it is.
import { createHash } from 'node:crypto';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DuobitError, isRemoteAddress } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';

/** Texts are read whole; beyond this size it is more likely a model given by mistake. */
const MAXIMUM_TEXT_BYTES = 1_000_000_000;

export interface TextFile {
  /** Without folders. */
  readonly name: string;
  readonly text: string;
  readonly bytes: number;
  /** Of the bytes. */
  readonly sha256: string;
}

/** The text of a UTF-8 file. @throws DuobitError `TEXT_UNREADABLE`. */
export async function readText(path: string, option: string): Promise<string> {
  return (await readTextFile(path, option)).text;
}

/** A UTF-8 text file. @throws DuobitError `TEXT_UNREADABLE`. */
export async function readTextFile(path: string, option: string): Promise<TextFile> {
  const refuse = (message: string, remedy: string, cause?: unknown): DuobitError =>
    new DuobitError('TEXT_UNREADABLE', message, { source: path, where: option, remedy, cause });
  let bytes: Uint8Array;
  try {
    const facts = await stat(path);
    if (!facts.isFile()) throw refuse('not a file', 'Give the path of a plain text file');
    if (facts.size > MAXIMUM_TEXT_BYTES) {
      throw refuse(`${facts.size} bytes is more than ${MAXIMUM_TEXT_BYTES}`, 'Give a smaller text file');
    }
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof DuobitError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw refuse(reason, 'Check the path and that the file can be read', error);
  }
  try {
    return {
      name: basename(path),
      text: new TextDecoder('utf-8', { fatal: true }).decode(bytes),
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
  } catch (error) {
    throw refuse('the bytes are not UTF-8', 'Convert the file to UTF-8', error);
  }
}

/** 'checkpoint': a Hugging Face folder, safetensors or GGUF file. 'container': to be opened as a Duobit file. */
export type ModelKind = 'checkpoint' | 'container';

/**
 * Tells by content, then by name, what a path is to be opened as. Anything unknown counts as a container, whose
 * reader says best what is wrong with it.
 * @throws DuobitError `MODEL_NOT_FOUND`.
 */
export async function detectModelKind(path: string): Promise<ModelKind> {
  if (isRemoteAddress(path)) return 'container';
  const facts = await stat(path).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DuobitError('MODEL_NOT_FOUND', `the model cannot be opened: ${reason}`, {
      source: path,
      remedy: 'Give a .duo file, its address (hf:user/name or https), a .gguf file or a Hugging Face folder',
      cause,
    });
  });
  if (facts.isDirectory()) return 'checkpoint';
  const start = await readStart(path, 8);
  if (start.subarray(4, 8).toString('latin1') === 'DUO1') return 'container';
  if (start.subarray(0, 4).toString('latin1') === 'GGUF') return 'checkpoint';
  return /\.(gguf|safetensors|safetensors\.index\.json)$/i.test(path) ? 'checkpoint' : 'container';
}

/** Bytes of a checkpoint: of the file, or of the folder's safetensors files. */
export async function countWeightBytes(path: string): Promise<number> {
  const facts = await stat(path);
  if (!facts.isDirectory()) return facts.size;
  const names = (await readdir(path)).filter((name) => name.endsWith('.safetensors'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(path, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The first bytes of a file; fewer when it is shorter, none when it cannot be read (its reader will say why). */
async function readStart(path: string, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  try {
    const file = await open(path, 'r');
    try {
      const { bytesRead } = await file.read(buffer, 0, length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return buffer.subarray(0, 0);
  }
}

/** All or nothing, over an older file. @throws DuobitError those of `createFileSink` */
export async function writeText(path: string, text: string): Promise<void> {
  const sink = await createFileSink(path);
  try {
    await sink.write(0, new TextEncoder().encode(text));
    await sink.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}
