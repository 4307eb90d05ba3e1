// Whatever the lengths of segments, every chunk and every gap is given once, in order, from few reads.
import { describe, expect, it } from 'vitest';
import { createRandom, writeSample } from '../test/sample.ts';
import { readChunks } from './chunk-reader.ts';
import { FileSet } from './file-set.ts';
import { type ByteSource, createMemorySource, LIMITS, type Manifest, openContainer } from './index.ts';

const CHUNK = LIMITS.chunkBytes;
const missing = (error: Error): never => expect.fail(error.message);

/** A file of numbered bytes with segments of these lengths, each at its place. */
async function place(lengths: readonly number[]) {
  const { manifest } = await openContainer(createMemorySource((await writeSample()).bytes));
  let end = 16_384;
  const segments = lengths.map((length, i) => {
    const offset = Math.ceil(end / 16_384) * 16_384;
    end = offset + length;
    return { name: `s${i}`, file: 0, offset, length, chunkHashes: [] };
  });
  const bytes = new Uint8Array(end);
  const random = createRandom(lengths.length);
  for (let i = 0; i < bytes.length; i += 97) bytes[i] = Math.floor(random() * 256);
  let reads = 0;
  const memory = createMemorySource(bytes);
  const source: ByteSource = {
    ...memory,
    readInto: async (offset, target) => {
      reads += 1;
      await memory.readInto!(offset, target);
    },
  };
  const placed: Manifest = { ...manifest, segments, fileLength: end };
  return { manifest: placed, bytes, source, countReads: () => reads };
}

describe('readChunks', () => {
  it.each([
    [[1]],
    [[CHUNK, CHUNK - 1, 1, CHUNK + 1]],
    [[100, 20_000, 16_384, 5, 2 * CHUNK + 3, 7, 3 * CHUNK, 1_000_000, 1_000_000]],
    [Array.from({ length: 300 }, (_, i) => 1 + ((i * 7919) % 40_000))],
  ])('gives all chunks and gaps of segments of %j', async (lengths) => {
    const { manifest, bytes, source, countReads } = await place(lengths);
    const expected = manifest.segments.flatMap(({ offset, length }, segment) =>
      Array.from({ length: Math.ceil(length / CHUNK) }, (_, chunk) => ({
        segment,
        chunk,
        from: offset + chunk * CHUNK,
        to: offset + Math.min(length, (chunk + 1) * CHUNK),
      })),
    );
    let next = 0;
    let end = manifest.segments[0]!.offset;
    for await (const data of readChunks(manifest, new FileSet(source, [], {}), missing)) {
      const { segment, chunk, from, to } = expected[next++]!;
      expect([data.segment, data.chunk, data.start]).toEqual([segment, chunk, chunk * CHUNK]);
      expect(data.bytes.byteOffset % 4).toBe(0);
      if (Buffer.compare(data.bytes, bytes.subarray(from, to)) !== 0) expect.fail(`chunk ${next - 1}`);
      expect(Buffer.compare(data.gap, bytes.subarray(end, from))).toBe(0);
      end = to;
    }
    expect([next, end]).toEqual([expected.length, bytes.length]);
    expect(countReads()).toBeLessThanOrEqual(2 * Math.ceil(bytes.length / CHUNK));
  });

  it('leaves out what is not in the file and what begins inside a segment before', async () => {
    const { manifest, source } = await place([100, 100, 100, 100]);
    const [a, b, c, d] = manifest.segments;
    const segments = [a!, { ...b!, offset: a!.offset }, { ...c!, length: 2 ** 50 }, d!];
    const seen: number[] = [];
    for await (const { segment } of readChunks(
      { ...manifest, segments },
      new FileSet(source, [], {}),
      missing,
    )) {
      seen.push(segment);
    }
    expect(seen).toEqual([0, 3]);
  });

  it('a failed read is thrown where its chunk is due', async () => {
    const { manifest, source } = await place([CHUNK, CHUNK, CHUNK]);
    let reads = 0;
    const failing: ByteSource = {
      ...source,
      readInto: async (offset, target) => {
        reads += 1;
        if (reads === 2) throw new Error('broken');
        await source.readInto!(offset, target);
      },
    };
    const seen: number[] = [];
    const walk = async () => {
      for await (const { segment } of readChunks(manifest, new FileSet(failing, [], {}), missing))
        seen.push(segment);
    };
    await expect(walk()).rejects.toThrow('broken');
    expect(seen).toEqual([0]);
  });
});
