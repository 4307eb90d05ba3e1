// JSON files of a checkpoint, read with a size limit and as strict UTF-8; and the search for keys that occur twice in an object.
import path from 'node:path';
import { DuobitError } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The first key that an object in a valid JSON text has twice, or null. `JSON.parse` keeps the last one silently,
 * other readers the first: a file with two meanings.
 */
export function findDuplicateKey(text: string): string | null {
  const objects: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{') {
      objects.push(new Set());
      expectsKey = true;
    } else if (character === '[') {
      objects.push(null);
      expectsKey = false;
    } else if (character === '}' || character === ']') {
      objects.pop();
      expectsKey = false;
    } else if (character === ',') {
      expectsKey = objects.at(-1) !== null;
    } else if (character === '"') {
      const start = at++;
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
      const keys = objects.at(-1);
      if (!expectsKey || keys === undefined || keys === null) continue;
      const key: unknown = JSON.parse(text.slice(start, at + 1));
      if (typeof key !== 'string' || keys.has(key)) return String(key);
      keys.add(key);
      expectsKey = false;
    }
  }
  return null;
}

/**
 * Reads a JSON object from a file.
 * @throws DuobitError `CHECKPOINT_FILE_TOO_LARGE`, `CHECKPOINT_JSON_INVALID`, and those of the file source.
 */
export async function readJsonObject(file: string, maxBytes: number): Promise<JsonObject> {
  const bytes = await readSmallFile(file, maxBytes);
  const fail = (message: string, cause?: unknown): DuobitError =>
    new DuobitError('CHECKPOINT_JSON_INVALID', message, {
      source: file,
      remedy: 'Get the file again from where the checkpoint came from',
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw fail(`not valid JSON: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  if (!isObject(value)) throw fail('the file holds no JSON object');
  return value;
}

/** The bytes of a file of at most `maxBytes`. */
export async function readSmallFile(file: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const source = await createFileSource(file);
  try {
    if (source.size > maxBytes) {
      throw new DuobitError(
        'CHECKPOINT_FILE_TOO_LARGE',
        `${path.basename(file)} has ${source.size} bytes; at most ${maxBytes} are read`,
        { source: file, remedy: 'Check that this is the file that it seems to be' },
      );
    }
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}
