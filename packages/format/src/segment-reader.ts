// Ranges of segments, each chunk's hash checked the first time any byte of it is read.
import { DuobitError } from './errors.ts';
import type { FileSet } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import { getReadingHasher, type ReadingHasher } from './hash-threads.ts';
import type { Allocate, Segment } from './manifest.ts';
import { REMEDY_DAMAGED } from './problems.ts';
import { sha256, toHex } from './sha256.ts';
import { readInto } from './source.ts';

const CHUNK = LIMITS.chunkBytes;
/** Chunks of fewer bytes are hashed where they are. */
const WORTH_SENDING = 2 ** 18;

interface Reading {
  readonly buffer: Uint8Array<ArrayBuffer>;
  done: Promise<void>;
  /** More than one waits for it. */
  shared: boolean;
}

/** Bytes of a segment. */
export interface Range {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** The part of a range that lies in one chunk, from byte `within` of it on. */
interface Part {
  readonly segment: number;
  readonly chunk: number;
  readonly within: number;
  readonly target: Uint8Array<ArrayBuffer>;
}

/** One list, however many take from it. */
function* listParts(
  ranges: readonly Range[],
  targets: readonly Uint8Array<ArrayBuffer>[],
): Generator<Part, undefined> {
  for (const [i, { segment, offset, length }] of ranges.entries())
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / CHUNK);
      const within = offset + done - chunk * CHUNK;
      const size = Math.min(CHUNK - within, length - done);
      yield { segment, chunk, within, target: targets[i]!.subarray(done, done + size) };
      done += size;
    }
}

/** Gives chunks whose hashes it has checked. */
export interface ChunkSource {
  /**
   * Fills `target` with a whole chunk. Called again for the same one when a part of it is wanted later.
   * @throws DuobitError `CHUNK_HASH`, or what reading throws
   */
  readChunk(segment: number, chunk: number, target: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Called after the files were closed. */
  close(): Promise<void>;
}

export class SegmentReader {
  readonly #files: FileSet;
  readonly #chunks: ChunkSource | null;
  readonly #segments: readonly Segment[];
  /** For each segment one byte a chunk: 1 once its hash was right. */
  readonly #verified: Uint8Array[];
  /** First reads that are under way, by segment and chunk: who wants a part of the same chunk meanwhile waits for them. */
  readonly #reading = new Map<string, Reading>();
  /** The chunk read last, as tensors read in order share it at their borders. Its buffer takes the next one. */
  #cache: { segment: number; chunk: number; buffer: Uint8Array<ArrayBuffer>; shared: boolean } | null = null;

  /** @param chunks where whole chunks come from, if not from the files */
  constructor(files: FileSet, segments: readonly Segment[], chunks: ChunkSource | null = null) {
    this.#files = files;
    this.#chunks = chunks;
    this.#segments = segments;
    this.#verified = segments.map((segment) => new Uint8Array(segment.chunkHashes.length));
  }

  /** Reads one range, as `readRanges` does. */
  async read(segment: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const [bytes] = await this.readRanges([{ segment, offset, length }]);
    return bytes!;
  }

  /**
   * Reads ranges that lie inside their segments, which validation of the header made sure of. Of much data several chunks are
   * under way at once, and other threads hash them.
   * @param allocate gives the memory of each in turn; what is in it when reading fails is of no use
   * @throws DuobitError `CHUNK_HASH`, `DATA_FILE_MISSING`, `DATA_FILE_LENGTH`, or what the source throws
   */
  async readRanges(
    ranges: readonly Range[],
    allocate: Allocate = (length) => new Uint8Array(length),
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    const results = ranges.map(({ length }) => allocate(length));
    const total = ranges.reduce((sum, { length }) => sum + length, 0);
    const hasher = this.#chunks ? null : getReadingHasher(total);
    const parts = listParts(ranges, results);
    let failed = false;
    const readParts = async (): Promise<void> => {
      try {
        for (const part of parts) {
          if (failed) return;
          await this.#readPart(part, hasher);
        }
      } catch (error) {
        failed = true;
        throw error;
      }
    };
    const lanes = Array.from({ length: hasher?.lanes ?? 1 }, readParts);
    // The memory is the caller's again only when nothing is read into it any more.
    await Promise.allSettled(lanes);
    await Promise.all(lanes);
    return results;
  }

  /** A whole chunk goes to its target at once, so that no second copy of it is kept. */
  async #readPart(
    { segment: index, chunk, within, target }: Part,
    hasher: ReadingHasher | null,
  ): Promise<void> {
    const cache = this.#cache;
    if (cache?.segment === index && cache.chunk === chunk) {
      target.set(cache.buffer.subarray(within, within + target.length));
      return;
    }
    const segment = this.#segments[index]!;
    if (this.#verified[index]![chunk]) {
      const source = await this.#files.get(segment.file);
      return readInto(source, segment.offset + chunk * CHUNK + within, target);
    }
    const length = Math.min(CHUNK, segment.length - chunk * CHUNK);
    if (target.length === length) return this.#readChunk(index, chunk, target, hasher);
    const key = `${index}:${chunk}`;
    const underWay = this.#reading.get(key);
    if (underWay) {
      underWay.shared = true;
      await underWay.done;
      target.set(underWay.buffer.subarray(within, within + target.length));
      return;
    }
    const reading: Reading = { buffer: this.#takeBuffer(length), done: Promise.resolve(), shared: false };
    this.#reading.set(key, reading);
    try {
      reading.done = this.#readChunk(index, chunk, reading.buffer.subarray(0, length), hasher);
      await reading.done;
      target.set(reading.buffer.subarray(within, within + target.length));
      this.#cache = { segment: index, chunk, buffer: reading.buffer, shared: reading.shared };
    } finally {
      this.#reading.delete(key);
    }
  }

  /** Takes the buffer of the cached chunk, which is then cached no more; a new one when it is too small or in use. */
  #takeBuffer(length: number): Uint8Array<ArrayBuffer> {
    const cache = this.#cache;
    this.#cache = null;
    // Others may still copy from a shared one.
    return cache && !cache.shared && cache.buffer.length >= length ? cache.buffer : new Uint8Array(length);
  }

  /** Fills `bytes` with a whole chunk and checks it. */
  async #readChunk(
    index: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hasher: ReadingHasher | null,
  ): Promise<void> {
    if (this.#chunks) return this.#chunks.readChunk(index, chunk, bytes);
    const segment = this.#segments[index]!;
    const source = await this.#files.get(segment.file);
    const offset = segment.offset + chunk * CHUNK;
    if (hasher && bytes.length >= WORTH_SENDING)
      await hasher.lend(bytes.length, async (memory, hash) => {
        await readInto(source, offset, memory);
        checkHash(source.name, segment, chunk, memory.length, await hash(memory));
        bytes.set(memory);
      });
    else {
      await readInto(source, offset, bytes);
      await checkChunk(source.name, segment, chunk, bytes);
    }
    this.#verified[index]![chunk] = 1;
  }
}

/** @throws DuobitError `CHUNK_HASH` unless `bytes` are the segment's chunk */
export async function checkChunk(
  source: string,
  segment: Segment,
  chunk: number,
  bytes: Uint8Array,
): Promise<void> {
  checkHash(source, segment, chunk, bytes.length, await sha256(bytes));
}

function checkHash(
  source: string,
  segment: Segment,
  chunk: number,
  length: number,
  digest: Uint8Array,
): void {
  const hash = toHex(digest);
  if (hash === segment.chunkHashes[chunk]) return;
  const start = segment.offset + chunk * CHUNK;
  throw new DuobitError(
    'CHUNK_HASH',
    `the chunk's SHA-256 is ${hash}, but the header says ${segment.chunkHashes[chunk]}`,
    {
      source,
      where: `segment ${segment.name}, chunk ${chunk}, file bytes ${start} to ${start + length - 1}`,
      remedy: REMEDY_DAMAGED,
    },
  );
}
