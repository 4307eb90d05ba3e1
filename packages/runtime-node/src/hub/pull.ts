// Brings a model from a server into the cache: what the address is now, the header, then what is missing of the files, one process
// at a time, each chunk checked as it comes.
import { statfs } from 'node:fs/promises';
import {
  type ByteSource,
  ChunkPlaces,
  createHttpSource,
  DuobitError,
  isHubAddress,
  isRemoteAddress,
  LIMITS,
  locateHubFile,
  type Manifest,
  openContainer,
  readIdentity,
  refuseHubPage,
} from '@duobit/format';
import { makeFolder } from '@duobit/format/node';
import { cacheFailure, fullFailure } from './cache-folder.ts';
import { withLock } from './lock.ts';
import { type ModelCache, openModelCache } from './model-cache.ts';
import { type Environment, type Network, openNetwork } from './network.ts';
import { StoredFile } from './stored-file.ts';

/** How far a download is. */
export interface DownloadProgress {
  /** Bytes of the model that are here: received, or found stored and checked. */
  readonly bytes: number;
  /** Of all files of the model. */
  readonly totalBytes: number;
  /** Of `bytes`, those that were stored already. */
  readonly cached: number;
}

/** Options of `pullModel`. */
export interface PullOptions {
  /** Where models are kept: a folder, or a cache that is open. Default: see `openModelCache`. */
  readonly cache?: string | ModelCache | undefined;
  /** Default: `process.env`. */
  readonly env?: Environment | undefined;
  /** Ends the download with `ABORTED`; what came stays. */
  readonly signal?: AbortSignal | undefined;
  /** Told of each chunk that is here. */
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Told in one line that another process downloads the model. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/** A model that is stored. */
export interface PulledModel {
  /** The container's file; data files lie beside it. */
  readonly path: string;
  /** Header hash, hex. */
  readonly id: string;
  readonly name: string;
  readonly address: string;
  /** Of the hub's repository; null elsewhere. */
  readonly commit: string | null;
  /** Of all files. */
  readonly bytes: number;
  /** Of them, those that this call received. */
  readonly downloaded: number;
}

/** An address as the cache knows it. */
export interface Address {
  /** What people are shown: without query. */
  readonly shown: string;
  /** What tells it from others, the hub included. */
  readonly key: string;
}

/** @throws DuobitError `MODEL_ADDRESS` for what is no address of a model's file, `HUB_ADDRESS` */
export function readAddress(text: string, network: Pick<Network, 'endpoint'>): Address {
  if (isHubAddress(text)) return { shown: text, key: `${network.endpoint} ${text}` };
  if (isRemoteAddress(text) && URL.canParse(text)) {
    refuseHubPage(text, network.endpoint);
    const url = new URL(text);
    url.hash = '';
    return { shown: url.origin + url.pathname, key: url.href };
  }
  throw new DuobitError('MODEL_ADDRESS', 'this is no address of a model on a server', {
    source: text.slice(0, 200),
    remedy: 'Write hf:user/name, or an https address of a .duo file',
  });
}

export function chooseCache({ cache, env }: Pick<PullOptions, 'cache' | 'env'>): ModelCache {
  return typeof cache === 'object' ? cache : openModelCache({ folder: cache, env });
}

export interface Location {
  readonly url: string;
  /** Of the file. */
  readonly name: string;
  readonly commit: string | null;
}

/** Where the model of an address is now. @throws DuobitError as `locateHubFile`, `OFFLINE` */
export async function locateModel(text: string, network: Network, signal?: AbortSignal): Promise<Location> {
  if (network.offline) {
    throw new DuobitError('OFFLINE', 'the model is not stored, and the network may not be used', {
      source: text,
      remedy: 'Unset HF_HUB_OFFLINE, or copy the cache of a machine that has pulled the model',
    });
  }
  const { endpoint, fetch } = network;
  if (!isHubAddress(text)) {
    const name = new URL(text).pathname.split('/').at(-1) ?? '';
    return { url: text, name: decodeName(name), commit: null };
  }
  const { url, file, commit } = await locateHubFile(text, { endpoint, fetch, ...(signal && { signal }) });
  return { url, name: file.split('/').at(-1)!, commit };
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Asks the server what the address is now, and stores what is missing of it. What is stored is checked, and damaged parts are fetched
 * again. Processes that pull the same model at once download it once.
 * @throws DuobitError what `locateHubFile`, `createHttpSource` and `openContainer` throw, `CHUNK_HASH`, `MODEL_ADDRESS`, `OFFLINE`,
 *   `CACHE_FULL`, `CACHE_PERMISSION`, `CACHE_IO`
 */
export async function pullModel(text: string, options: PullOptions = {}): Promise<PulledModel> {
  const network = await openNetwork(options.env);
  const { shown, key } = readAddress(text, network);
  const { signal } = options;
  const { url, name, commit } = await locateModel(text, network, signal);
  const source = await createHttpSource(url, { fetch: network.fetch, ...(signal && { signal }) });
  const remote = await openRemote(source);
  try {
    const cache = chooseCache(options);
    const id = remote.manifest.headerSha256;
    const files = planFiles(cache.folderOf(id), remote);
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    const downloaded = await new Download(remote, cache, bytes, options).run(name, shown, files);
    await cache.writeSource(key, { address: shown, id, commit });
    await cache.touch(id);
    return { path: cache.fileOf(id), id, name, address: shown, commit, bytes, downloaded };
  } finally {
    await remote.close();
  }
}

interface Remote {
  readonly manifest: Manifest;
  /** Its bytes with the padding behind it. */
  readonly header: Uint8Array;
  /** 0: the container's own; i: data file i - 1. */
  readonly files: (file: number) => Promise<ByteSource>;
  close(): Promise<void>;
}

/** Takes the source over. @throws DuobitError as `openContainer` */
async function openRemote(source: ByteSource): Promise<Remote> {
  try {
    const identity = await readIdentity(source);
    const header = await source.read(0, Math.min(identity?.headerBytes ?? LIMITS.preambleBytes, source.size));
    const headed: ByteSource = {
      name: source.name,
      size: source.size,
      read: async (offset, length) =>
        offset + length <= header.length
          ? header.slice(offset, offset + length)
          : source.read(offset, length),
      stream: (offset, length, onBytes) => source.stream!(offset, length, onBytes),
      openBeside: (name) => source.openBeside!(name),
      close: () => source.close(),
    };
    let files: Remote['files'] = async () => headed;
    const container = await openContainer(headed, {
      chunks: (_manifest, open) => {
        files = open;
        return { readChunk: async () => {}, close: async () => {} };
      },
    });
    return { manifest: container.manifest, header, files, close: () => container.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

type Files = readonly Parameters<typeof StoredFile.check>[0][];

/** Data files first, the container's own last: its name says that all are there. */
function planFiles(folder: string, { manifest, header }: Remote): Files {
  const { all } = new ChunkPlaces(manifest);
  const placesOf = (file: number) => all.filter((place) => place.file === file);
  const data = manifest.dataFiles.map(({ name, length }, i) => ({
    folder,
    name,
    size: length,
    places: placesOf(i + 1),
    header: new Uint8Array(0),
  }));
  const name = `${manifest.headerSha256}.duo`;
  return [...data, { folder, name, size: manifest.fileLength, places: placesOf(0), header }];
}

class Download {
  readonly #remote: Remote;
  readonly #cache: ModelCache;
  readonly #totalBytes: number;
  readonly #options: PullOptions;
  #bytes = 0;
  #cached = 0;

  constructor(remote: Remote, cache: ModelCache, totalBytes: number, options: PullOptions) {
    this.#remote = remote;
    this.#cache = cache;
    this.#totalBytes = totalBytes;
    this.#options = options;
  }

  /** @returns bytes received */
  async run(name: string, address: string, files: Files): Promise<number> {
    const cache = this.#cache;
    const id = this.#remote.manifest.headerSha256;
    const folder = cache.folderOf(id);
    const { signal, onNotice } = this.#options;
    let told = false;
    const onWait = async (): Promise<void> => {
      if (!told) onNotice?.('note: another process downloads this model; waiting for it');
      told = true;
      this.#tell(await cache.measure(id));
    };
    try {
      // A model that is whole and right is not written to: its folder need not be writable.
      if (await cache.isWhole(id)) {
        const stored = await this.#check(files);
        if (stored.every(({ missingBytes }) => missingBytes === 0)) return 0;
      }
      await makeFolder(folder);
      return await withLock(cache.lockOf(id), { signal, onWait }, async () => {
        // It may have been removed while another process had the lock.
        await makeFolder(folder);
        await cache.writeNote(id, { name, totalBytes: this.#totalBytes, address });
        return await this.#fetch(folder, await this.#check(files));
      });
    } catch (error) {
      throw cacheFailure(folder, error);
    }
  }

  async #check(files: Files): Promise<StoredFile[]> {
    [this.#bytes, this.#cached] = [0, 0];
    const onBytes = (length: number): void => {
      this.#cached += length;
      this.#tell(this.#bytes + length);
    };
    const { manifest } = this.#remote;
    const stored: StoredFile[] = [];
    for (const file of files)
      stored.push(await StoredFile.check(file, manifest, onBytes, this.#options.signal));
    return stored;
  }

  async #fetch(folder: string, files: readonly StoredFile[]): Promise<number> {
    const missing = files.reduce((sum, { missingBytes }) => sum + missingBytes, 0);
    await requireSpace(folder, missing);
    for (const file of files) await file.writeHeader();
    let received = 0;
    const onBytes = (length: number): void => {
      received += length;
      this.#tell(this.#bytes + length);
    };
    for (const [i, file] of files.entries())
      await file.complete(() => this.#remote.files((i + 1) % files.length), onBytes);
    this.#tell(this.#totalBytes);
    return received;
  }

  #tell(bytes: number): void {
    this.#bytes = bytes;
    this.#options.onProgress?.({ bytes, totalBytes: this.#totalBytes, cached: this.#cached });
  }
}

/** A disk that is known to be too small is not filled first. Quotas show when something is written. */
async function requireSpace(folder: string, bytes: number): Promise<void> {
  const space = await statfs(folder).catch(() => null);
  // Some file systems do not know.
  if (!space || space.blocks === 0) return;
  const free = space.bavail * space.bsize;
  if (free >= bytes) return;
  throw fullFailure(folder, `${bytes} bytes are missing of the model, and the disk has room for ${free}`);
}
