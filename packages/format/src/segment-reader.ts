// Ranges of segments, each chunk's hash checked the first time any byte of it is read.
import { DuobitError } from './errors.ts';
import type { FileSet } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import type { Segment } from './manifest.ts';
import { REMEDY_DAMAGED } from './problems.ts';
import { sha256, toHex } from './sha256.ts';
import { readInto } from './source.ts';

const CHUNK = LIMITS.chunkBytes;

interface Reading {
  readonly buffer: Uint8Array<ArrayBuffer>;
  done: Promise<void>;
  /** More than one waits for it. */
  shared: boolean;
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

  /**
   * Reads a range that lies inside the segment, which validation of the header made sure of.
   * @throws DuobitError `CHUNK_HASH`, `DATA_FILE_MISSING`, `DATA_FILE_LENGTH`, or what the source throws
   */
  async read(segment: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / CHUNK);
      const within = offset + done - chunk * CHUNK;
      const size = Math.min(CHUNK - within, length - done);
      await this.#readPart(segment, chunk, within, result.subarray(done, done + size));
      done += size;
    }
    return result;
  }

  /** Fills `target` from inside one chunk. A whole chunk goes there at once, so that no second copy is in memory. */
  async #readPart(
    index: number,
    chunk: number,
    within: number,
    target: Uint8Array<ArrayBuffer>,
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
    if (target.length === length) return this.#readChunk(index, chunk, target);
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
      reading.done = this.#readChunk(index, chunk, reading.buffer.subarray(0, length));
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
  async #readChunk(index: number, chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#chunks) return this.#chunks.readChunk(index, chunk, bytes);
    const segment = this.#segments[index]!;
    const source = await this.#files.get(segment.file);
    await readInto(source, segment.offset + chunk * CHUNK, bytes);
    await checkChunk(source.name, segment, chunk, bytes);
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
  const hash = toHex(await sha256(bytes));
  if (hash === segment.chunkHashes[chunk]) return;
  const start = segment.offset + chunk * CHUNK;
  throw new DuobitError(
    'CHUNK_HASH',
    `the chunk's SHA-256 is ${hash}, but the header says ${segment.chunkHashes[chunk]}`,
    {
      source,
      where: `segment ${segment.name}, chunk ${chunk}, file bytes ${start} to ${start + bytes.length - 1}`,
      remedy: REMEDY_DAMAGED,
    },
  );
}
