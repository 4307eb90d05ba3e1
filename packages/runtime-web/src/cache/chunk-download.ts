// Where chunks of a model come from as it is loaded: what is stored, else one long request for all that is missing, of which each
// chunk is verified, given to whoever waits for it, and stored. Without a store it runs a few chunks ahead of its reader.
import {
  type ByteSource,
  ChunkBuffers,
  type ChunkPlace,
  ChunkPlaces,
  type ChunkSource,
  checkChunk,
  DuobitError,
  LIMITS,
  type Manifest,
  readInto,
  streamChunks,
} from '@duobit/format';
import { estimateStorage, lockModel } from './model-cache.ts';
import type { ModelFolder, ModelNote } from './model-folder.ts';

/** How far loading is. */
export interface LoadProgress {
  /** Bytes of the model that are here: received, or read from what is stored. */
  readonly bytes: number;
  /** Of all files of the model. A part that nothing reads need not come. */
  readonly totalBytes: number;
  /** Of `bytes`, those that were stored already. */
  readonly cached: number;
}

export interface DownloadEvents {
  /** Told of each chunk that is here. */
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Told in one line what a user may want to know, such as that nothing can be stored. */
  onNotice?: ((line: string) => void) | undefined;
}

/** Being received, being hashed, and two that wait for the reader. */
const BUFFERS = 4;
/** Without a store, chunks so far ahead are waited for; what is further away is read by itself. */
const MOST_AHEAD = 3;
/** While another tab downloads, milliseconds between looks whether a chunk is stored. */
const POLL_MS = 100;

/** 'idle' until the first read, 'queued' while another tab downloads. */
type State = 'idle' | 'queued' | 'running' | 'ended';

export class ChunkDownload implements ChunkSource {
  readonly #name: string;
  readonly #manifest: Manifest;
  readonly #files: (file: number) => Promise<ByteSource>;
  readonly #places: ChunkPlaces;
  readonly #events: DownloadEvents;
  readonly #buffers: ChunkBuffers;
  #folder: ModelFolder | null = null;
  /** Whether new chunks are put into the folder. */
  #storing = false;
  /** Whether all that is missing is downloaded once something is read. */
  #ahead = false;
  /** Numbers of chunks in the folder. */
  #stored = new Set<number>();
  /** Of stored chunks, those whose hash was right. */
  readonly #verified = new Set<number>();
  /** Numbers of chunks that the running request will bring. */
  #coming = new Set<number>();
  /** Verified chunks that are not stored, or not yet. */
  readonly #held = new Map<number, Uint8Array<ArrayBuffer>>();
  /** Number of the chunk that is being received. */
  #position = 0;
  #state: State = 'idle';
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  #failure: unknown = null;
  /** Ends waiting for another tab. */
  readonly #unqueue = new AbortController();
  #wakers: (() => void)[] = [];
  #toldOfDamage = false;
  readonly #counted = new Set<number>();
  #bytes = 0;
  #cached = 0;

  constructor(
    name: string,
    manifest: Manifest,
    files: (file: number) => Promise<ByteSource>,
    events: DownloadEvents,
  ) {
    this.#name = name;
    this.#manifest = manifest;
    this.#files = files;
    this.#events = events;
    this.#places = new ChunkPlaces(manifest);
    const largest = this.#places.all.reduce((most, { length }) => Math.max(most, length), 0);
    this.#buffers = new ChunkBuffers(BUFFERS, Math.min(LIMITS.chunkBytes, largest));
  }

  /** What is to be noted of the model. */
  describe(): Pick<ModelNote, 'headerBytes' | 'fileLength' | 'chunks' | 'totalBytes'> {
    const { all, headerBytes } = this.#places;
    return {
      headerBytes,
      fileLength: this.#manifest.fileLength,
      chunks: all.length,
      totalBytes: all.reduce((sum, { length }) => sum + length, headerBytes),
    };
  }

  /** Whether all chunks are in the folder. */
  get isStored(): boolean {
    return this.#stored.size === this.#places.all.length;
  }

  /**
   * Says where chunks are kept, and whether reading one begins a download of all. Called once, before the first read.
   * @param headerStored whether the header came from there
   */
  async begin(folder: ModelFolder | null, ahead: boolean, headerStored: boolean): Promise<void> {
    this.#ahead = ahead;
    this.#folder = folder;
    this.#storing = folder !== null;
    if (folder) this.#stored = await folder.listChunks();
    this.#count(this.#places.headerBytes, headerStored);
    if (this.#storing) await this.#checkSpace();
  }

  async readChunk(segment: number, chunk: number, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const place = this.#places.get(segment, chunk);
    if (this.#state === 'idle' && this.#ahead) this.#start(place.number);
    while (this.#failure === null) {
      if (this.#takeHeld(place, target)) return;
      const maybeStored = this.#stored.has(place.number) || this.#state === 'queued';
      if (maybeStored && (await this.#readStored(place, target))) return;
      if (this.#state !== 'queued' && !this.#comes(place)) {
        // It may have come while the folder was looked at.
        if (this.#held.has(place.number) || this.#stored.has(place.number)) continue;
        return this.#readDirectly(place, target);
      }
      await this.#change();
    }
    throw this.#failure;
  }

  /** Waits until all that is missing is stored. A failure then costs a notice: the model is there. @throws DuobitError `ABORTED` */
  async finish(): Promise<void> {
    if (this.#state === 'queued') this.#unqueue.abort();
    else if (!this.#storing) return this.#stop();
    await this.#running;
    if (this.#failure === null) return;
    if (this.#failure instanceof DuobitError && this.#failure.code === 'ABORTED') throw this.#failure;
    this.#notify(`the rest of the model is not stored (${describe(this.#failure)})`);
    this.#failure = null;
  }

  async close(): Promise<void> {
    this.#stop();
    this.#unqueue.abort();
    await this.#running;
  }

  #stop(): void {
    this.#stopped = true;
    this.#buffers.close(new DuobitError('SOURCE_CLOSED', 'the download has ended', { source: this.#name }));
  }

  #start(first: number): void {
    const isMissing = ({ number }: ChunkPlace) => !this.#stored.has(number);
    if (this.#storing && !this.#places.all.some(isMissing)) {
      this.#state = 'ended';
      return;
    }
    const run = this.#storing ? this.#downloadAlone(this.#folder!) : this.#download(first);
    this.#running = run
      .catch((error: unknown) => {
        if (!this.#stopped && !this.#unqueue.signal.aborted) this.#failure ??= error;
      })
      .finally(() => {
        this.#state = 'ended';
        this.#coming.clear();
        this.#wake();
      });
  }

  /** Two tabs that load the same model: one downloads, the other reads what that one stores. */
  async #downloadAlone(folder: ModelFolder): Promise<void> {
    this.#state = 'queued';
    await lockModel(folder.id, { signal: this.#unqueue.signal }, async () => {
      this.#stored = await folder.listChunks();
      await this.#download(0);
    });
  }

  async #download(first: number): Promise<void> {
    const missing = this.#places.all.filter(({ number }) => number >= first && !this.#stored.has(number));
    this.#coming = new Set(missing.map(({ number }) => number));
    this.#state = 'running';
    this.#wake();
    for (let next = first; ; ) {
      const run = this.#places.nextRun(next, this.#coming);
      if (run.length === 0) return;
      this.#position = run[0]!.number;
      next = run.at(-1)!.number + 1;
      const source = await this.#files(run[0]!.file);
      await streamChunks(source, run, this.#buffers, {
        onBytes: (place, length) => this.#counted.has(place.number) || this.#count(length, false),
        onChunk: (place, buffer) => this.#accept(source, place, buffer),
      });
    }
  }

  /** Verifies a chunk that came, shows it to readers and stores it. */
  async #accept(source: ByteSource, place: ChunkPlace, buffer: Uint8Array<ArrayBuffer>): Promise<void> {
    const bytes = buffer.subarray(0, place.length);
    await this.#verify(source.name, place, bytes);
    this.#countOnce(place, place.gap, false);
    this.#coming.delete(place.number);
    this.#position = place.number + 1;
    this.#held.set(place.number, buffer);
    this.#wake();
    if (this.#storing && (await this.#store(place, bytes)) && this.#held.delete(place.number))
      this.#buffers.give(buffer);
  }

  /** Copies from a chunk that is held. Without a store, it is the reader's that takes it, and older ones were skipped. */
  #takeHeld(place: ChunkPlace, target: Uint8Array): boolean {
    const buffer = this.#held.get(place.number);
    if (buffer) target.set(buffer.subarray(0, place.length));
    if (!this.#storing && (buffer || this.#comes(place))) {
      for (const [number, old] of this.#held) {
        if (number > place.number) continue;
        this.#held.delete(number);
        this.#buffers.give(old);
      }
    }
    return buffer !== undefined;
  }

  #comes({ number }: ChunkPlace): boolean {
    return this.#coming.has(number) && (this.#storing || number < this.#position + MOST_AHEAD);
  }

  /** @returns false where it is not stored, or damaged, which is told once */
  async #readStored(place: ChunkPlace, target: Uint8Array): Promise<boolean> {
    const bytes = await this.#folder?.readChunk(place.number, place.length);
    if (bytes && !this.#verified.has(place.number)) {
      try {
        await this.#verify('', place, bytes);
        this.#verified.add(place.number);
      } catch {
        this.#stored.delete(place.number);
        if (!this.#toldOfDamage) this.#notify('a part of the stored model was damaged; it is fetched again');
        this.#toldOfDamage = true;
        return false;
      }
    }
    if (!bytes) {
      this.#stored.delete(place.number);
      return false;
    }
    target.set(bytes);
    this.#countOnce(place, place.gap + place.length, true);
    return true;
  }

  async #readDirectly(place: ChunkPlace, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const source = await this.#files(place.file);
    await readInto(source, place.offset, target);
    await this.#verify(source.name, place, target);
    this.#countOnce(place, place.gap + place.length, false);
    if (this.#storing) await this.#store(place, target);
  }

  #verify(source: string, { segment, chunk }: ChunkPlace, bytes: Uint8Array): Promise<void> {
    return checkChunk(source, this.#manifest.segments[segment]!, chunk, bytes);
  }

  /** @returns false where it cannot be: nothing more is stored then */
  async #store({ number }: ChunkPlace, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    try {
      await this.#folder!.writeChunk(number, bytes);
      this.#stored.add(number);
      this.#verified.add(number);
      return true;
    } catch (error) {
      const isFull = (error as DOMException).name === 'QuotaExceededError';
      await this.#giveUp(isFull ? 'there is no space left' : describe(error));
      return false;
    }
  }

  async #checkSpace(): Promise<void> {
    const missing = this.#places.all.filter(({ number }) => !this.#stored.has(number));
    const needed = missing.reduce((sum, { length }) => sum + length, 0);
    const { quota, usage = 0 } = await estimateStorage();
    if (needed === 0 || quota === undefined || quota - usage >= needed) return;
    const megabytes = (bytes: number): string => `${(Math.max(0, bytes) / 1e6).toFixed(1)} MB`;
    const reason = `it takes ${megabytes(needed)} more, and there are ${megabytes(quota - usage)}`;
    await this.#giveUp(reason, this.#stored.size > 0);
  }

  /** Goes on without storing. Unless it is kept, what is stored so far is removed: it would fill the last space for nothing. */
  async #giveUp(reason: string, keep = false): Promise<void> {
    if (!this.#storing) return;
    this.#storing = false;
    this.#notify(`the model is not stored: ${reason}`);
    this.#wake();
    if (keep) return;
    this.#stored.clear();
    await this.#folder?.remove().catch(() => {});
  }

  #countOnce({ number }: ChunkPlace, bytes: number, stored: boolean): void {
    if (this.#counted.has(number)) return;
    this.#counted.add(number);
    this.#count(bytes, stored);
  }

  #count(bytes: number, stored: boolean): void {
    this.#bytes += bytes;
    if (stored) this.#cached += bytes;
    const { fileLength, dataFiles } = this.#manifest;
    const totalBytes = dataFiles.reduce((sum, { length }) => sum + length, fileLength);
    this.#events.onProgress?.({ bytes: this.#bytes, totalBytes, cached: this.#cached });
  }

  #notify(line: string): void {
    this.#events.onNotice?.(`note: ${line}`);
  }

  /** Resolves when something has changed, or may have. */
  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakers.push(resolve);
      if (this.#state === 'queued') setTimeout(resolve, POLL_MS);
    });
  }

  #wake(): void {
    for (const waker of this.#wakers.splice(0)) waker();
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
