// Containers over HTTP: only what is needed crosses the network, counted to the byte, also far beyond 4 GiB.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CountingSource } from '@duobit/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { serveSource, type TestServer } from '../test/http-server.ts';
import { writeSample } from '../test/sample.ts';
import { writeSparseModel } from '../test/sparse.ts';
import {
  type Container,
  createHttpSource,
  createMemorySource,
  decodeTensor,
  LIMITS,
  openContainer,
  validateContainer,
} from './index.ts';
import { createFileSource } from './node.ts';

let folder: string;
let server: TestServer | null = null;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-remote-'));
});
afterEach(async () => {
  await server?.close();
  server = null;
  await rm(folder, { recursive: true, force: true });
});

async function readBlock(container: Container, block: number): Promise<void> {
  const names = container.tensorNames.filter((name) => name.startsWith(`model.layers.${block}.`));
  expect(names.length).toBe(9);
  for (const name of names) await container.readTensor(name);
}

it('a whole container validates over HTTP', async () => {
  const { bytes } = await writeSample();
  server = await serveSource(createMemorySource(bytes));
  const source = await createHttpSource(server.url);
  expect(await validateContainer(source)).toMatchObject({ ok: true, problems: [] });
  await source.close();
});

it('opening fetches the header once, and a layer its own segment once [RMT-1] [RMT-2]', async () => {
  const { bytes } = await writeSample();
  server = await serveSource(createMemorySource(bytes));
  const container = await openContainer(await createHttpSource(server.url));
  const { segments } = container.manifest;
  const base = segments[0]!.offset;
  expect(server.requests.map(({ range }) => range)).toEqual(['bytes=0-127', `bytes=128-${base - 1}`]);
  expect(server.bytesSent()).toBe(base);
  const block = segments.find(({ name }) => name === 'block.1')!;
  await readBlock(container, 1);
  expect(server.requests.slice(2).map(({ range }) => range)).toEqual([
    `bytes=${block.offset}-${block.offset + block.length - 1}`,
  ]);
  expect(server.bytesSent()).toBe(base + block.length);
  await container.close();
});

it('a byte that changed on the way is found, though the server vouches for it [RMT-7]', async () => {
  const { bytes } = await writeSample();
  const good = createMemorySource(bytes);
  server = await serveSource({
    ...good,
    async read(offset, length) {
      const part = await good.read(offset, length);
      if (offset + length === bytes.length) part[length - 1]! ^= 1;
      return part;
    },
  });
  const container = await openContainer(await createHttpSource(server.url));
  await expect(container.readTensor('lm_head.weight')).rejects.toMatchObject({ code: 'CHUNK_HASH' });
  expect(decodeTensor(await container.readTensor('model.layers.0.input_layernorm.weight')).length).toBe(36);
  await container.close();
});

it('data files are found beside the header file, and fetched when they are needed [SHD-6] [SHD-7]', async () => {
  const fixture = (name: string) =>
    createFileSource(fileURLToPath(new URL(`../../../fixtures/good/${name}`, import.meta.url)));
  server = await serveSource(await fixture('sharded.duo'), undefined, {
    '/sharded-00001.duodata': await fixture('sharded-00001.duodata'),
    '/sharded-00002.duodata': null,
  });
  const container = await openContainer(await createHttpSource(server.url));
  const { segments, tensors, dataFiles } = container.manifest;
  const inFile = (file: number) =>
    tensors.find(({ planes }) => segments[planes[0]!.segment]!.file === file)!.name;
  expect(dataFiles.map(({ name }) => name)).toEqual(['sharded-00001.duodata', 'sharded-00002.duodata']);
  const opened = server.requests.length;
  const local = await openContainer(await fixture('sharded.duo'));
  expect(await container.readTensor(inFile(1))).toEqual(await local.readTensor(inFile(1)));
  const paths = server.requests.slice(opened).map(({ path }) => path);
  expect([...new Set(paths)]).toEqual(['/sharded-00001.duodata']);
  await expect(container.readTensor(inFile(2))).rejects.toMatchObject({ code: 'DATA_FILE_MISSING' });
  await container.close();
  await local.close();
});

it('a 6 GiB container opens, and its last tensor reads right', async () => {
  const path = join(folder, 'sparse.duo');
  const { fileLength, lastValues } = await writeSparseModel(path, { gibibytes: 6 });
  expect(fileLength).toBeGreaterThan(6 * 2 ** 30);
  server = await serveSource(await createFileSource(path));
  const container = await openContainer(await createHttpSource(server.url));
  expect(decodeTensor(await container.readTensor('model.norm.weight'))).toEqual(lastValues);
  expect(server.requests.at(-1)!.range).toBe(`bytes=${fileLength - 4096}-${fileLength - 1}`);
  expect(server.requests.length).toBe(3);
  expect(server.bytesSent()).toBe(container.manifest.segments[0]!.offset + 4096);
  await container.close();
});

it('one layer of an 8 GiB model is read with the header and the bytes of that layer, chunk by chunk [RMT-2]', async () => {
  const path = join(folder, 'sparse.duo');
  const options = { gibibytes: 8, blockCount: 3, intermediateSize: 16_384 };
  const { fileLength } = await writeSparseModel(path, options);
  expect(fileLength).toBeGreaterThan(8 * 2 ** 30);
  const counting = new CountingSource(await createFileSource(path));
  server = await serveSource(counting);
  const container = await openContainer(await createHttpSource(server.url));
  await readBlock(container, 1);
  const { segments } = container.manifest;
  const base = segments[0]!.offset;
  const block = segments.find(({ name }) => name === 'block.1')!;
  const chunks = Math.ceil(block.length / LIMITS.chunkBytes);
  expect(chunks).toBeGreaterThan(3);
  const expected = [
    { offset: 0, length: 128 },
    { offset: 128, length: base - 128 },
    ...Array.from({ length: chunks }, (_, i) => ({
      offset: block.offset + i * LIMITS.chunkBytes,
      length: Math.min(LIMITS.chunkBytes, block.length - i * LIMITS.chunkBytes),
    })),
  ];
  expect(counting.reads).toEqual(expected);
  expect(counting.bytesRead).toBe(base + block.length);
  await container.close();
});
