// Chunks without a store: one stream, a few chunks ahead of its reader and no further, whatever order the reader has.
import { createMemorySource, DuobitError, type Manifest, sha256, toHex } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { ChunkDownload } from './chunk-download.ts';

const ALIGNMENT = 16_384;
const COUNT = 24;
/** Of the chunks, which are a segment each. */
const LENGTHS = Array.from({ length: COUNT }, (_, i) => 3000 + 512 * (i % 5));
const file = new Uint8Array(ALIGNMENT * (COUNT + 1)).map((_, i) => (i * 31 + (i >> 8)) & 255);
const chunkOf = (i: number) => file.subarray(ALIGNMENT * (i + 1), ALIGNMENT * (i + 1) + LENGTHS[i]!);

async function makeManifest(): Promise<Manifest> {
  const segments = LENGTHS.map(async (length, i) => ({
    name: `s${i}`,
    file: 0,
    offset: ALIGNMENT * (i + 1),
    length,
    chunkHashes: [toHex(await sha256(chunkOf(i)))],
  }));
  const last = ALIGNMENT * COUNT + LENGTHS[COUNT - 1]!;
  return {
    headerLength: 1000,
    fileLength: last,
    dataFiles: [],
    segments: await Promise.all(segments),
  } as unknown as Manifest;
}

async function open(bytes: Uint8Array = file) {
  const ranges: string[] = [];
  let streamed = 0;
  const source = {
    ...createMemorySource(bytes, 'model.duo'),
    async readInto(offset: number, target: Uint8Array) {
      ranges.push(`read ${offset / ALIGNMENT - 1}`);
      target.set(bytes.subarray(offset, offset + target.length));
    },
    async stream(offset: number, length: number, onBytes: (piece: Uint8Array) => void | Promise<void>) {
      ranges.push(`stream ${offset / ALIGNMENT - 1}`);
      for (let at = offset; at < offset + length; at += 1000) {
        await onBytes(bytes.slice(at, Math.min(at + 1000, offset + length)));
        streamed = at;
      }
    },
  };
  let progress = 0;
  const download = new ChunkDownload('model.duo', await makeManifest(), async () => source, {
    onProgress: ({ bytes: here }) => {
      expect(here).toBeGreaterThanOrEqual(progress);
      progress = here;
    },
  });
  await download.begin(null, true, false);
  return {
    download,
    ranges,
    /** Number of the chunk that the stream is at. */
    position: () => Math.floor(streamed / ALIGNMENT) - 1,
    progress: () => progress,
    async expectChunk(i: number) {
      const target = new Uint8Array(LENGTHS[i]!);
      await download.readChunk(i, 0, target);
      expect(target).toEqual(chunkOf(i));
    },
  };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('a download without a store', () => {
  it('is one stream that waits for its reader', async () => {
    const { expectChunk, position, ranges, progress } = await open();
    for (let i = 0; i < COUNT; i++) {
      await expectChunk(i);
      await settle();
      expect(position()).toBeLessThanOrEqual(i + 4);
    }
    expect(ranges).toEqual(['stream 0']);
    expect(progress()).toBe(ALIGNMENT * COUNT + LENGTHS[COUNT - 1]!);
  });

  it('leaves out what is skipped, and reads by itself what is far away or behind', async () => {
    const { expectChunk, ranges } = await open();
    for (const i of [0, 2, 3]) await expectChunk(i);
    await settle();
    for (const i of [15, 19, 1, 0]) await expectChunk(i);
    expect(ranges).toEqual(['stream 0', 'read 15', 'read 19', 'read 1', 'read 0']);
    // Then in order again, from where the stream waits.
    for (let i = 4; i < COUNT; i++) await expectChunk(i);
    expect(ranges).toHaveLength(5);
  });

  it('serves several readers of one chunk', async () => {
    const { expectChunk } = await open();
    await Promise.all([expectChunk(0), expectChunk(0), expectChunk(1), expectChunk(2)]);
    await Promise.all([expectChunk(3), expectChunk(3), expectChunk(2)]);
  });

  it('ends when the model is there, and still reads afterwards', async () => {
    const { download, expectChunk, position, ranges } = await open();
    await expectChunk(0);
    await download.finish();
    await settle();
    expect(position()).toBeLessThan(6);
    await expectChunk(20);
    await expectChunk(1);
    expect(ranges).toEqual(['stream 0', 'read 20', 'read 1']);
    await download.close();
  });

  it('refuses a chunk that does not have its hash, and all that is asked for after it', async () => {
    const damaged = file.slice();
    damaged[ALIGNMENT * 3 + 7]! ^= 1;
    const { expectChunk } = await open(damaged);
    await expectChunk(0);
    await expectChunk(1);
    for (const i of [2, 3]) {
      const error = await expectChunk(i).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(DuobitError);
      expect((error as DuobitError).code).toBe('CHUNK_HASH');
    }
  });
});
