// Documents of each kind of file, and what is said of those that hold none.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCorpus } from './corpus.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-corpus-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(name: string, content: string | Uint8Array, field?: string) {
  const path = join(folder, name);
  await writeFile(path, content);
  return readCorpus(path, '--calibration', field);
}

/** One column `text` of three strings, uncompressed, as pyarrow 21 writes it. */
const PARQUET = Buffer.from(
  [
    'UEFSMRUAFToVOiwVBhUAFQYVBhwAAAACAAAABgEDAAAAb25lAwAAAHR3bwUAAAB0aHJlZRUEGSw1ABgGc2NoZW1hFQIAFQwl',
    'AhgEdGV4dCUATBwAAAAWBhkcGRwmABwVDBklBgAZGAR0ZXh0FQAWBhZgFmAmCEkcFQAVABUCADwWFhkGGSYABgAAABZgFgYm',
    'CBZgACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAACIAAAAUEFSMQ==',
  ].join(''),
  'base64',
);

describe('readCorpus', () => {
  it('takes a text as one document', async () => {
    expect(await read('a.txt', 'Once.\nTwice.')).toEqual(['Once.\nTwice.']);
  });

  it('takes a record of JSON lines as a document, blank lines apart', async () => {
    expect(await read('a.jsonl', '{"text":"one","id":1}\n\n{"text":"two"}\n')).toEqual(['one', 'two']);
    expect(await read('b.jsonl', '{"body":"one","text":"no"}\n', 'body')).toEqual(['one']);
    expect(await read('c.jsonl', '"plain"\n')).toEqual(['plain']);
  });

  it('takes an array of JSON, or the array in an object', async () => {
    expect(await read('a.json', '["one", {"story": "two"}]')).toEqual(['one', 'two']);
    expect(await read('b.json', '{"name": "x", "rows": [{"content": "one"}]}')).toEqual(['one']);
  });

  it.each([
    ['a.jsonl', '{"text":"one"}\n{"text":', /line 2 is not JSON/],
    ['b.jsonl', '{"title":"one"}', /line 1 has no text in any of the fields text/],
    ['c.json', '{"name": "x"}', /no array of documents/],
    ['d.json', '[1]', /record 0 has no text/],
    ['e.parquet', 'not Parquet', /not a Parquet file/],
  ])('refuses %s by place', async (name, content, message) => {
    await expect(read(name, content)).rejects.toMatchObject({
      code: 'TEXT_UNREADABLE',
      message: expect.stringMatching(message),
    });
  });

  it('names the fields that there are', async () => {
    await expect(read('f.jsonl', '{"title":"one"}', 'text')).rejects.toMatchObject({
      remedy: expect.stringContaining('title'),
    });
  });

  it('reads Parquet', async () => {
    expect(await read('a.parquet', PARQUET)).toEqual(['one', 'two', 'three']);
  });
});
