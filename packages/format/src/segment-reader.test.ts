// Ranges of a segment of several chunks, read in any order and at once: always the file's bytes, and never unverified, whether
// this thread hashes them or others do.
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FileSet } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import { createReadingBuffer, getReadingHasher } from './hash-threads.ts';
import type { Segment } from './manifest.ts';
import { createMemorySource } from './memory-source.ts';
import { SegmentReader } from './segment-reader.ts';
import { sha256, toHex } from './sha256.ts';
import type { ByteSource } from './source.ts';

const CHUNK = LIMITS.chunkBytes;
const LENGTH = 2 * CHUNK + 1000;
const bytes = new Uint32Array(LENGTH / 4).map((_, i) => Math.imul(i, 2_654_435_761) ^ (i >>> 7));
const data = new Uint8Array(bytes.buffer);

/** As a slow file: the first half of what is read is there some time before the second. */
function createSlowSource(stored: Uint8Array<ArrayBuffer>): ByteSource {
  const source = createMemorySource(stored, 'chunks.duo');
  return {
    ...source,
    async readInto(offset, target) {
      const half = target.length >> 1;
      await source.readInto!(offset, target.subarray(0, half));
      await new Promise((resolve) => setTimeout(resolve, 2));
      await source.readInto!(offset + half, target.subarray(half));
    },
  };
}

async function makeReader(stored: Uint8Array<ArrayBuffer> = data) {
  const chunkHashes: string[] = [];
  for (let start = 0; start < LENGTH; start += CHUNK)
    chunkHashes.push(toHex(await sha256(data.slice(start, start + CHUNK))));
  const segment: Segment = { name: 'data', file: 0, offset: 0, length: LENGTH, chunkHashes };
  return new SegmentReader(new FileSet(createSlowSource(stored), [], {}), [segment]);
}

const RANGES = [
  [0, 10],
  [CHUNK - 5, 10],
  [0, LENGTH],
  [CHUNK, CHUNK],
  [2 * CHUNK - 1, 2],
  [2 * CHUNK, 1000],
  [3, 2 * CHUNK + 500],
  [LENGTH - 1, 1],
  [5, 0],
] as const;

const same = (read: Uint8Array, offset: number) =>
  Buffer.compare(read, data.subarray(offset, offset + read.length)) === 0;

describe.each(['this thread hashes', 'other threads hash'])('where %s, a reader', (which) => {
  beforeAll(async () => {
    if (which === 'this thread hashes') {
      const builtin = process.getBuiltinModule;
      vi.spyOn(process, 'getBuiltinModule').mockImplementation(((id: string) =>
        id === 'node:worker_threads' ? undefined : builtin(id)) as typeof builtin);
      return expect(getReadingHasher(2 ** 30)).toBeNull();
    }
    const hasher = getReadingHasher(2 ** 30)!;
    const sent = vi.spyOn(Worker.prototype, 'postMessage');
    // Until a thread is up, this one hashes.
    while (sent.mock.calls.length === 0) {
      await hasher.lend(8, hasher.hash);
      await new Promise(setImmediate);
    }
    sent.mockRestore();
  });
  afterAll(() => vi.restoreAllMocks());

  it('gives the bytes of each range, one after another', async () => {
    for (const ranges of [RANGES, [...RANGES].reverse()]) {
      const reader = await makeReader();
      for (const [offset, length] of ranges) {
        const read = await reader.read(0, offset, length);
        expect([read.length, same(read, offset)]).toEqual([length, true]);
        // It owns its buffer: no byte of a neighbour is behind it.
        expect(read.buffer.byteLength).toBe(length);
      }
    }
  });

  it('gives the bytes of all ranges at once', async () => {
    const reader = await makeReader();
    const reads = await Promise.all(RANGES.map(([offset, length]) => reader.read(0, offset, length)));
    for (const [i, [offset, length]] of RANGES.entries())
      expect([length, reads[i]!.length, same(reads[i]!, offset)]).toEqual([length, length, true]);
  });

  it('gives a chunk read before while its buffer takes the next', async () => {
    const reader = await makeReader();
    await reader.read(0, 0, 10);
    const next = reader.read(0, CHUNK, 10);
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(same(await reader.read(0, 0, 10), 0)).toBe(true);
    expect(same(await next, CHUNK)).toBe(true);
    expect(same(await reader.read(0, CHUNK + 10, 10), CHUNK + 10)).toBe(true);
  });

  it('refuses a damaged chunk each time, alone and inside a longer range, and gives the others', async () => {
    const damaged = data.slice();
    damaged[CHUNK + 7]! ^= 1;
    const reader = await makeReader(damaged);
    for (const [offset, length] of [
      [CHUNK, CHUNK],
      [CHUNK + 100, 1],
      [0, LENGTH],
      [CHUNK, CHUNK],
    ] as const)
      await expect(reader.read(0, offset, length)).rejects.toMatchObject({ code: 'CHUNK_HASH' });
    expect(same(await reader.read(0, 0, CHUNK), 0)).toBe(true);
    expect(same(await reader.read(0, 2 * CHUNK, 1000), 2 * CHUNK)).toBe(true);
  });

  it('begins no chunk any more when one has failed', async () => {
    const [count, lanes] = [12, getReadingHasher(0)?.lanes ?? 1];
    const length = count * CHUNK;
    const asked: number[] = [];
    const source: ByteSource = {
      ...createMemorySource(new Uint8Array(1), 'zeros.duo'),
      size: length,
      async readInto(offset, target) {
        asked.push(offset / CHUNK);
        await new Promise((resolve) => setTimeout(resolve, offset === 0 ? 1 : 10));
        if (offset === 0) throw new Error('the disk is gone');
        target.fill(0);
      },
    };
    const hash = toHex(await sha256(new Uint8Array(CHUNK)));
    const segment = { name: 'data', file: 0, offset: 0, length, chunkHashes: Array(count).fill(hash) };
    const reader = new SegmentReader(new FileSet(source, [], {}), [segment]);
    await expect(reader.read(0, 0, length)).rejects.toThrow('the disk is gone');
    expect(asked).toEqual(Array.from({ length: lanes }, (_, chunk) => chunk));
  });

  it('reads several ranges into memory that it is given, and has done with it when it fails', async () => {
    const places = RANGES.map(([offset, length]) => ({ segment: 0, offset, length }));
    const total = places.reduce((sum, { length }) => sum + length, 0);
    for (const buffer of [new ArrayBuffer(total), createReadingBuffer(total)]) {
      let used = 0;
      const allocate = (length: number) => {
        used += length;
        return new Uint8Array(buffer, used - length, length);
      };
      const reads = await (await makeReader()).readRanges(places, allocate);
      for (const [i, { offset }] of places.entries()) expect([i, same(reads[i]!, offset)]).toEqual([i, true]);
      expect([used, reads.every((read) => read.buffer === buffer)]).toEqual([total, true]);
    }

    const damaged = data.slice();
    damaged[3]! ^= 1;
    const target = new Uint8Array(LENGTH);
    const whole = [{ segment: 0, offset: 0, length: LENGTH }];
    await expect((await makeReader(damaged)).readRanges(whole, () => target)).rejects.toMatchObject({
      code: 'CHUNK_HASH',
    });
    target.fill(9);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(target.every((byte) => byte === 9)).toBe(true);
  });
});

it('takes chunks from elsewhere where it is told to, whole, and keeps none but the last', async () => {
  const asked: number[] = [];
  const chunks = {
    async readChunk(_: number, chunk: number, target: Uint8Array) {
      asked.push(chunk);
      target.set(data.subarray(chunk * CHUNK, chunk * CHUNK + target.length));
    },
    async close() {},
  };
  const hashes = Array.from({ length: 3 }, () => '0'.repeat(64));
  const segment: Segment = { name: 'data', file: 0, offset: 0, length: LENGTH, chunkHashes: hashes };
  const files = new FileSet(createMemorySource(new Uint8Array(0), 'nothing.duo'), [], {});
  const reader = new SegmentReader(files, [segment], chunks);
  for (const [offset, length] of RANGES)
    expect(same(await reader.read(0, offset, length), offset)).toBe(true);
  asked.length = 0;
  await reader.read(0, 0, 10);
  await reader.read(0, 10, 10);
  await reader.read(0, 2 * CHUNK, 10);
  await reader.read(0, 0, 10);
  expect(asked).toEqual([0, 2, 0]);
});
