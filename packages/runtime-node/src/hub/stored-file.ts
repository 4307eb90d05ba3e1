// One file of a model on its way into the cache: which of its chunks are there already, and the others as they come. Under its
// own name it is only once it is whole.
import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ByteSource,
  ChunkBuffers,
  type ChunkPlace,
  checkChunk,
  DuobitError,
  LIMITS,
  type Manifest,
  streamChunks,
} from '@duobit/format';
import { cacheFailure, systemCode } from './cache-folder.ts';

/** The name of a file that is not whole. No data file begins with a dot, so it is nobody else's. */
const partialName = (name: string): string => `.${name}.part`;

export async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    () => null,
  );
}

export interface FileSpec {
  readonly folder: string;
  readonly name: string;
  readonly size: number;
  /** The chunks of this file, in order. */
  readonly places: readonly ChunkPlace[];
  /** What lies before the first chunk: of the container's own file the header, else nothing. */
  readonly header: Uint8Array;
}

export class StoredFile {
  readonly #spec: FileSpec;
  readonly #manifest: Manifest;
  readonly #path: string;
  readonly #isWhole: boolean;
  #headerMissing = true;
  #missing: readonly ChunkPlace[];

  private constructor(spec: FileSpec, manifest: Manifest, path: string, isWhole: boolean) {
    this.#spec = spec;
    this.#manifest = manifest;
    this.#path = path;
    this.#isWhole = isWhole;
    this.#missing = spec.places;
  }

  /** Looks for what is stored and checks every byte of it. `onBytes` is told of what was found right. */
  static async check(
    spec: FileSpec,
    manifest: Manifest,
    onBytes: (length: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<StoredFile> {
    const whole = join(spec.folder, spec.name);
    const isWhole = (await sizeOf(whole)) !== null;
    const file = new StoredFile(
      spec,
      manifest,
      isWhole ? whole : join(spec.folder, partialName(spec.name)),
      isWhole,
    );
    await file.#findMissing(onBytes, signal);
    return file;
  }

  get missingBytes(): number {
    return this.#missing.reduce(
      (sum, { length }) => sum + length,
      this.#headerMissing ? this.#spec.header.length : 0,
    );
  }

  async #findMissing(onBytes: (length: number) => void, signal: AbortSignal | undefined): Promise<void> {
    const { header, places } = this.#spec;
    this.#headerMissing = header.length > 0;
    const stored = (await sizeOf(this.#path)) ?? 0;
    if (stored === 0) return;
    const handle = await open(this.#path, 'r');
    try {
      const buffer = Buffer.alloc(Math.max(header.length, LIMITS.chunkBytes));
      const holds = async (offset: number, length: number): Promise<boolean> =>
        offset + length <= stored && (await handle.read(buffer, 0, length, offset)).bytesRead === length;
      if (
        this.#headerMissing &&
        (await holds(0, header.length)) &&
        buffer.subarray(0, header.length).equals(header)
      ) {
        this.#headerMissing = false;
        onBytes(header.length);
      }
      const missing: ChunkPlace[] = [];
      for (const place of places) {
        if (signal?.aborted)
          throw new DuobitError('ABORTED', 'stopped while stored files were checked', { source: this.#path });
        const found = (await holds(place.offset, place.length)) && (await this.#isRight(place, buffer));
        if (found) onBytes(place.length);
        else missing.push(place);
      }
      this.#missing = missing;
    } finally {
      await handle.close();
    }
  }

  #isRight({ segment, chunk, length }: ChunkPlace, buffer: Uint8Array): Promise<boolean> {
    const bytes = buffer.subarray(0, length);
    return checkChunk(this.#path, this.#manifest.segments[segment]!, chunk, bytes).then(
      () => true,
      () => false,
    );
  }

  /** Writes the header, so that an unfinished file says what it will be. */
  async writeHeader(): Promise<void> {
    if (this.#headerMissing) await this.#writing((handle) => writeAll(handle, this.#spec.header, 0));
    this.#headerMissing = false;
  }

  /**
   * Fetches what is missing and gives the file its name. Chunks that came are kept, whatever happens.
   * @throws DuobitError `CHUNK_HASH`, `CACHE_FULL`, `CACHE_PERMISSION`, `CACHE_IO`, and what the source throws
   */
  async complete(openSource: () => Promise<ByteSource>, onBytes: (length: number) => void): Promise<void> {
    const { folder, name, size } = this.#spec;
    if (this.#missing.length > 0) {
      const source = await openSource();
      await this.#writing(async (handle) => {
        for (const run of runsOf(this.#missing)) await this.#fetch(source, run, handle, onBytes);
      });
      this.#missing = [];
    }
    if (this.#isWhole && (await sizeOf(this.#path)) === size) return;
    await this.#writing(async (handle) => {
      // Padding was never written: it is zero, and so is what was never written.
      await handle.truncate(size);
      await handle.sync();
    });
    if (this.#isWhole) return;
    const whole = join(folder, name);
    await rename(this.#path, whole).catch(async (error: unknown) => {
      // Another process may have been as far: see lock.ts.
      if ((await sizeOf(whole)) !== size) throw error;
    });
  }

  async #fetch(
    source: ByteSource,
    run: readonly ChunkPlace[],
    handle: FileHandle,
    onBytes: (length: number) => void,
  ): Promise<void> {
    const largest = run.reduce((most, { length }) => Math.max(most, length), 0);
    // One is filled while the other is hashed and written.
    const buffers = new ChunkBuffers(2, largest);
    await streamChunks(source, run, buffers, {
      onBytes: (_place, length) => onBytes(length),
      onChunk: async ({ segment, chunk, offset, length }, buffer) => {
        try {
          const bytes = buffer.subarray(0, length);
          await checkChunk(source.name, this.#manifest.segments[segment]!, chunk, bytes);
          await writeAll(handle, bytes, offset);
        } catch (error) {
          throw cacheFailure(this.#path, error);
        } finally {
          buffers.give(buffer);
        }
      },
    });
  }

  async #writing(work: (handle: FileHandle) => Promise<void>): Promise<void> {
    const path = this.#path;
    const handle = await open(path, 'r+').catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
      return open(path, 'w+');
    });
    try {
      await work(handle);
    } finally {
      await handle.close();
    }
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
}

/** Chunks that lie one behind the other. */
function runsOf(places: readonly ChunkPlace[]): ChunkPlace[][] {
  const runs: ChunkPlace[][] = [];
  for (const place of places) {
    const run = runs.at(-1);
    if (run?.at(-1)?.number === place.number - 1) run.push(place);
    else runs.push([place]);
  }
  return runs;
}
