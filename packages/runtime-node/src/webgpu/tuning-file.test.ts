// The file of measured adapters: what is written is read, in any state of the file and the folder.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTuningFile } from './tuning-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-tuning-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  return rm(folder, { recursive: true });
});

describe('createTuningFile', () => {
  it('keeps a value a key in a folder that it makes, and leaves nothing else there', async () => {
    const store = createTuningFile(join(folder, 'duobit', 'tuning.json'));
    expect(await store.read('one')).toBeNull();
    await store.write('one', '{"a":1}');
    await store.write('two', '{"b":2}');
    await store.write('one', '{"a":3}');
    expect([await store.read('one'), await store.read('two')]).toEqual(['{"a":3}', '{"b":2}']);
    expect(await readdir(join(folder, 'duobit'))).toEqual(['tuning.json']);
  });

  it('starts again where the file is damaged', async () => {
    const path = join(folder, 'tuning.json');
    for (const text of ['{"one', '[1]', '"one"', '{"one":5}']) {
      await writeFile(path, text);
      const store = createTuningFile(path);
      expect(await store.read('one')).toBeNull();
      await store.write('one', 'x');
      expect(await store.read('one')).toBe('x');
    }
  });

  it('forgets the oldest', async () => {
    const path = join(folder, 'tuning.json');
    const store = createTuningFile(path);
    for (let i = 0; i < 40; i++) await store.write(`key ${i}`, 'x');
    const keys = Object.keys(JSON.parse(await readFile(path, 'utf8')));
    expect([keys.length, keys[0], keys.at(-1)]).toEqual([32, 'key 8', 'key 39']);
  });

  it('lies beside the downloaded models', async () => {
    vi.stubEnv('DUOBIT_CACHE', folder);
    await createTuningFile().write('one', 'x');
    expect(await readdir(folder)).toEqual(['webgpu-tuning.json']);
  });
});
