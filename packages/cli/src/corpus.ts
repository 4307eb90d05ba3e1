// Texts to calibrate on: plain text, or a dataset file of documents as Hugging Face has them (JSON, JSON lines, Parquet).
import { open, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { DuobitError } from '@duobit/format';
import { readText } from './files.ts';

/** Names that datasets use for their text. */
const FIELDS = ['text', 'content', 'story', 'document'];

/**
 * The documents of a file: of `.jsonl`, `.json` (an array, or an object with an array) and `.parquet` one a record, of any
 * other file its whole text.
 *
 * @param field the records' field with the text; absent takes the first of the usual names that is there
 * @throws DuobitError `TEXT_UNREADABLE` naming file and line or record
 */
export async function readCorpus(path: string, option: string, field?: string): Promise<readonly string[]> {
  const kind = extname(path).toLowerCase();
  if (kind === '.parquet') return readParquet(path, option, field);
  const text = await readText(path, option);
  if (kind === '.jsonl' || kind === '.ndjson') {
    const lines = text.split('\n').map((line, i) => ({ line, place: `line ${i + 1}` }));
    return lines
      .filter(({ line }) => line.trim() !== '')
      .map(({ line, place }) => pickText(parseJson(line, path, place), field, path, place));
  }
  if (kind !== '.json') return [text];
  const parsed = parseJson(text, path, 'the file');
  const records = Array.isArray(parsed) ? parsed : findArray(parsed);
  if (!records)
    throw unreadable(path, 'the JSON has no array of documents', 'Give an array, or an object with one');
  return records.map((record, i) => pickText(record, field, path, `record ${i}`));
}

async function readParquet(
  path: string,
  option: string,
  field: string | undefined,
): Promise<readonly string[]> {
  const { parquetReadObjects } = await import('hyparquet');
  try {
    const { size } = await stat(path);
    const file = await open(path, 'r');
    try {
      const buffer = {
        byteLength: size,
        async slice(start: number, end = size): Promise<ArrayBuffer> {
          const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
          await file.read(bytes, 0, bytes.length, start);
          return bytes.buffer;
        },
      };
      const records = await parquetReadObjects({ file: buffer });
      return records.map((record, i) => pickText(record, field, path, `record ${i}`));
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DuobitError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new DuobitError('TEXT_UNREADABLE', `not a Parquet file that can be read: ${reason}`, {
      source: path,
      where: option,
      remedy: 'Check the file, or convert it to JSON lines',
      cause: error,
    });
  }
}

function parseJson(text: string, path: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreadable(path, `${place} is not JSON: ${(error as Error).message}`, 'Check the file');
  }
}

function findArray(value: unknown): unknown[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.values(value).find((entry): entry is unknown[] => Array.isArray(entry));
}

function pickText(record: unknown, field: string | undefined, path: string, place: string): string {
  if (typeof record === 'string' && field === undefined) return record;
  const fields = new Map(typeof record === 'object' && record !== null ? Object.entries(record) : []);
  const name = field ?? FIELDS.find((candidate) => typeof fields.get(candidate) === 'string');
  const text = name === undefined ? undefined : fields.get(name);
  if (typeof text === 'string') return text;
  throw unreadable(
    path,
    `${place} has no text in ${field === undefined ? `any of the fields ${FIELDS.join(', ')}` : `the field ${field}`}`,
    `Name the field with --calibration-field${fields.size > 0 ? `; there are ${[...fields.keys()].join(', ')}` : ''}`,
  );
}

function unreadable(path: string, message: string, remedy: string): DuobitError {
  return new DuobitError('TEXT_UNREADABLE', message, { source: path, where: '--calibration', remedy });
}
