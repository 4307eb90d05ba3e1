// Ranges of segments, each chunk's hash checked the first time any byte of it is read.
import { DuobitError } from './errors.ts';
import type { FileSet } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import type { Segment } from './manifest.ts';
import { REMEDY_DAMAGED } from './problems.ts';
import { sha256, toHex } from './sha256.ts';

const CHUNK = LIMITS.chunkBytes;

export class SegmentReader {
  readonly #files: FileSet;
  readonly #segments: readonly Segment[];
  /** For each segment one byte a chunk: 1 once its hash was right. */
  readonly #verified: Uint8Array[];
  /** First reads that are under way, by segment and chunk: who wants the same chunk meanwhile waits for them. */
  readonly #reading = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  /** The chunk read last, as tensors read in order share it at their borders. */
  #cache: { segment: number; chunk: number; bytes: Uint8Array<ArrayBuffer> } | null = null;

  constructor(files: FileSet, segments: readonly Segment[]) {
    this.#files = files;
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
      result.set(await this.#readPart(segment, chunk, within, size), done);
      done += size;
    }
    return result;
  }

  async #readPart(index: number, chunk: number, within: number, size: number): Promise<Uint8Array> {
    const cache = this.#cache;
    if (cache?.segment === index && cache.chunk === chunk) return cache.bytes.subarray(within, within + size);
    if (this.#verified[index]![chunk]) {
      const { file, offset } = this.#segments[index]!;
      return (await this.#files.get(file)).read(offset + chunk * CHUNK + within, size);
    }
    const key = `${index}:${chunk}`;
    let reading = this.#reading.get(key);
    if (!reading) {
      reading = this.#readChunk(index, chunk).finally(() => this.#reading.delete(key));
      this.#reading.set(key, reading);
    }
    return (await reading).subarray(within, within + size);
  }

  /** Reads a whole chunk and checks its hash. */
  async #readChunk(index: number, chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    const segment = this.#segments[index]!;
    const start = segment.offset + chunk * CHUNK;
    const source = await this.#files.get(segment.file);
    const bytes = await source.read(start, Math.min(CHUNK, segment.length - chunk * CHUNK));
    const hash = toHex(await sha256(bytes));
    if (hash !== segment.chunkHashes[chunk]) {
      throw new DuobitError(
        'CHUNK_HASH',
        `the chunk's SHA-256 is ${hash}, but the header says ${segment.chunkHashes[chunk]}`,
        {
          source: source.name,
          where: `segment ${segment.name}, chunk ${chunk}, file bytes ${start} to ${start + bytes.length - 1}`,
          remedy: REMEDY_DAMAGED,
        },
      );
    }
    this.#verified[index]![chunk] = 1;
    this.#cache = { segment: index, chunk, bytes };
    return bytes;
  }
}
