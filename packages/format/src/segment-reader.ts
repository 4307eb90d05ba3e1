// Ranges of segments, each chunk's hash checked the first time any byte of it is read.
import { DuobitError } from './errors.ts';
import type { FileSet } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import { getReadingHasher, isShared, type ReadingHasher } from './hash-threads.ts';
import type { Allocate, Segment } from './manifest.ts';
import { REMEDY_DAMAGED } from './problems.ts';
import { sha256, toHex } from './sha256.ts';
import { readInto } from './source.ts';

const CHUNK = LIMITS.chunkBytes;
/** Chunks of fewer bytes are hashed where they are. */
const WORTH_SENDING = 2 ** 18;

/** A chunk of which parts are wanted: under way, or the last one read. Its memory goes back when nobody copies from it any more. */
class HeldChunk {
  readonly bytes: Uint8Array;
  done: Promise<void> = Promise.resolve();
  readonly #giveBack: (memory: Uint8Array) => void;
  readonly #memory: Uint8Array;
  /** The reader itself at first. */
  #users = 1;

  constructor(memory: Uint8Array, length: number, giveBack: (memory: Uint8Array) => void) {
    this.bytes = memory.subarray(0, length);
    this.#memory = memory;
    this.#giveBack = giveBack;
  }

  /** Once it is read. */
  async copy(within: number, target: Uint8Array): Promise<void> {
    this.#users += 1;
    try {
      await this.done;
      target.set(this.bytes.subarray(within, within + target.length));
    } finally {
      this.release();
    }
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#giveBack(this.#memory);
  }
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
   * Fills `target`, which may lie in shared memory, with a whole chunk. Called again for the same one when a part of it is
   * wanted later.
   * @throws DuobitError `CHUNK_HASH`, or what reading throws
   */
  readChunk(segment: number, chunk: number, target: Uint8Array): Promise<void>;
  /** Called after the files were closed. */
  close(): Promise<void>;
}

export class SegmentReader {
  readonly #files: FileSet;
  readonly #chunks: ChunkSource | null;
  readonly #segments: readonly Segment[];
  /** For each segment one byte a chunk: 1 once its hash was right. */
  readonly #verified: Uint8Array[];
  /** By segment and chunk: first reads of parts that are under way, and the latest, as tensors read in order share chunks at their borders. */
  readonly #held = new Map<string, HeldChunk>();
  #latest: string | null = null;
  /** Memory of the held chunk before, for the next one. */
  #spare: Uint8Array = new Uint8Array(0);

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
    // A failure leaves the loop, which ends the list for all that take from it.
    const readParts = async (): Promise<void> => {
      for (const part of parts) await this.#readPart(part, hasher);
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
    const key = `${index}:${chunk}`;
    const held = this.#held.get(key);
    if (held) return held.copy(within, target);
    const segment = this.#segments[index]!;
    if (this.#verified[index]![chunk]) {
      const source = await this.#files.get(segment.file);
      return readInto(source, segment.offset + chunk * CHUNK + within, target);
    }
    const length = Math.min(CHUNK, segment.length - chunk * CHUNK);
    if (target.length === length) return this.#readChunk(index, chunk, target, hasher);
    const first = this.#hold(length, hasher);
    this.#held.set(key, first);
    try {
      first.done = this.#readChunk(index, chunk, first.bytes, hasher);
      await first.copy(within, target);
    } catch (error) {
      this.#let(key);
      throw error;
    }
    if (this.#latest !== null) this.#let(this.#latest);
    this.#latest = key;
  }

  #hold(length: number, hasher: ReadingHasher | null): HeldChunk {
    if (hasher) return new HeldChunk(hasher.take(CHUNK), length, hasher.give);
    const memory = this.#spare.length >= length ? this.#spare : new Uint8Array(length);
    this.#spare = new Uint8Array(0);
    return new HeldChunk(memory, length, (free) => {
      this.#spare = free;
    });
  }

  #let(key: string): void {
    this.#held.get(key)!.release();
    this.#held.delete(key);
  }

  /** Fills `bytes` with a whole chunk and checks it. */
  async #readChunk(
    index: number,
    chunk: number,
    bytes: Uint8Array,
    hasher: ReadingHasher | null,
  ): Promise<void> {
    if (this.#chunks) return this.#chunks.readChunk(index, chunk, bytes);
    const segment = this.#segments[index]!;
    const source = await this.#files.get(segment.file);
    const offset = segment.offset + chunk * CHUNK;
    const readAndCheck = async (memory: Uint8Array): Promise<void> => {
      await readInto(source, offset, memory);
      const digest = hasher && isShared(memory) ? hasher.hash(memory) : sha256(memory);
      checkHash(source.name, segment, chunk, memory.length, await digest);
    };
    if (hasher && bytes.length >= WORTH_SENDING && !isShared(bytes))
      await hasher.lend(bytes.length, async (memory) => {
        await readAndCheck(memory);
        bytes.set(memory);
      });
    else await readAndCheck(bytes);
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
