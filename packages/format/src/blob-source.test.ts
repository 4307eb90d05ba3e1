// Blobs and Files as sources.
import { openAsBlob } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { writeSample } from '../test/sample.ts';
import { createBlobSource, decodeTensor, openContainer, validateContainer } from './index.ts';

it('a container opens from a File, and reads what the file holds', async () => {
  const { bytes } = await writeSample();
  const source = createBlobSource(new File([bytes], 'model.duo'));
  expect(source).toMatchObject({ name: 'model.duo', size: bytes.length });
  expect(await validateContainer(source)).toMatchObject({ ok: true });
  const part = await source.read(100, 50);
  expect(part).toEqual(bytes.slice(100, 150));
  expect(part.buffer.byteLength).toBe(50);
  const container = await openContainer(source);
  expect(decodeTensor(await container.readTensor('model.norm.weight')).length).toBe(36);
  await container.close();
  await expect(source.read(0, 1)).rejects.toMatchObject({ code: 'SOURCE_CLOSED', source: 'model.duo' });
});

it('ranges outside are refused; names can be given', async () => {
  const source = createBlobSource(new Blob([new Uint8Array(10)]));
  expect(source).toMatchObject({ name: 'blob', size: 10 });
  expect(createBlobSource(new Blob([]), 'mine').name).toBe('mine');
  for (const [offset, length] of [
    [10, 1],
    [-1, 1],
    [0, 11],
  ] as const) {
    await expect(source.read(offset, length)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' });
  }
});

it('a slice of another length than asked for is refused', async () => {
  // What fs.openAsBlob does beyond 2 GiB: the size is there, the bytes are not.
  class Liar extends Blob {
    override slice(): Blob {
      return new Blob([]);
    }
  }
  const source = createBlobSource(new Liar([new Uint8Array(10)]));
  await expect(source.read(0, 5)).rejects.toMatchObject({
    code: 'SOURCE_TRUNCATED',
    message: '5 bytes at 0 were asked for, but 0 came',
  });
});

it('a file that changed after it was picked is SOURCE_IO', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'duobit-blob-'));
  const path = join(folder, 'model.duo');
  await writeFile(path, 'as it was picked');
  const source = createBlobSource(await openAsBlob(path), path);
  await writeFile(path, 'and something else, which is longer');
  await expect(source.read(0, 5)).rejects.toMatchObject({ code: 'SOURCE_IO', source: path });
  await rm(folder, { recursive: true });
});
