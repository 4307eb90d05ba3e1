// Opens a model for loading: from a URL through the cache, whose copies are found by the header hash in the first 128 bytes of what
// the server has; without a server, by the address. Files and other sources are read as they are.
import {
  type ByteSource,
  type Container,
  createBlobSource,
  createHttpSource,
  DuobitError,
  type HttpSourceOptions,
  type Identity,
  isHubAddress,
  locateHubFile,
  openContainer,
  readIdentity,
  refuseHubPage,
  sha256,
  toHex,
} from '@duobit/format';
import { ChunkDownload, type DownloadEvents } from './chunk-download.ts';
import { canWriteFiles } from './files.ts';
import { HeadedSource } from './headed-source.ts';
import { type FoundModel, type ModelCache, openModelCache } from './model-cache.ts';

/** Options of `openModel`. */
export interface OpenModelOptions extends DownloadEvents {
  /**
   * Where models from URLs are kept: 'opfs' (default), the origin private file system, where there is one; a `ModelCache`; or 'none'.
   */
  readonly cache?: 'opfs' | 'none' | ModelCache | undefined;
  /** Ends all reading with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
}

/** What a model is opened from: a URL, `hf:user/name[@revision][/file]`, a File or Blob, or any source of bytes, which is then closed with the model. */
export type ModelLocation = string | URL | Blob | ByteSource;

export interface OpenedModel {
  readonly container: Container;
  /** To be called when all that a model needs was read: ends the download, or waits until all is stored. */
  finish(): Promise<void>;
}

/** A server that does not answer for so long is done without where the model is stored. */
const PROBE_TIMEOUT_MS = 10_000;

/**
 * Opens a container to look into it: only what is asked for is read, from the cache where it is stored. What comes from a URL is
 * stored.
 * @throws DuobitError `MODEL_ADDRESS` for a model's page on a hub, what opening the source and reading the container throw
 */
export async function openModel(from: ModelLocation, options: OpenModelOptions = {}): Promise<Container> {
  return (await openModelAhead(from, options, false)).container;
}

/** As `openModel`; with `ahead` the first read of a chunk begins to download all. */
export async function openModelAhead(
  from: ModelLocation,
  options: OpenModelOptions,
  ahead = true,
): Promise<OpenedModel> {
  if (typeof from === 'string' || from instanceof URL) {
    const url = new URL(from, globalThis.location?.href).href;
    refuseHubPage(url);
    const cache = await chooseCache(options);
    if (cache) return openCached(url, cache, options, ahead);
    return openUncached(await connect(url, options), options, ahead);
  }
  return openUncached(from instanceof Blob ? createBlobSource(from) : from, options, ahead);
}

async function chooseCache({ cache = 'opfs', onNotice }: OpenModelOptions): Promise<ModelCache | null> {
  // Outside of browsers nobody expects one.
  if (cache === 'none' || (cache === 'opfs' && !globalThis.FileSystemFileHandle)) return null;
  try {
    if (cache !== 'opfs') return cache;
    if (canWriteFiles()) return await openModelCache();
    onNotice?.('note: the model is not stored: this browser writes files in workers only');
  } catch (error) {
    onNotice?.(`note: the model is not stored: ${(error as DuobitError).message}`);
  }
  return null;
}

/** Of an `hf:` address a hub is asked first which file of which commit that is. */
async function connect(
  url: string,
  { signal }: OpenModelOptions,
  limits: Pick<HttpSourceOptions, 'retries' | 'timeout'> = {},
): Promise<ByteSource> {
  const options = { ...limits, ...(signal && { signal }) };
  return createHttpSource(isHubAddress(url) ? (await locateHubFile(url, options)).url : url, options);
}

async function openUncached(
  source: ByteSource,
  options: OpenModelOptions,
  ahead: boolean,
): Promise<OpenedModel> {
  try {
    const { container, download } = await openWithDownload(source, options);
    await download.begin(null, ahead, false);
    return { container, finish: () => download.finish() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function openWithDownload(
  source: ByteSource,
  events: DownloadEvents,
): Promise<{ container: Container; download: ChunkDownload }> {
  let download: ChunkDownload | null = null;
  const container = await openContainer(source, {
    chunks: (manifest, files) => {
      download = new ChunkDownload(source.name, manifest, files, events);
      return download;
    },
  });
  // Unreachable: an opened container has asked for its chunks.
  if (!download) throw new DuobitError('INTERNAL', 'a container has no chunks', { source: source.name });
  return { container, download };
}

async function openCached(
  url: string,
  cache: ModelCache,
  options: OpenModelOptions,
  ahead: boolean,
): Promise<OpenedModel> {
  const address = toHex(await sha256(new TextEncoder().encode(url)));
  const known = await cache.find(address);
  const complete = await findComplete(known);
  let connection: ByteSource | null = complete ? null : await connect(url, options);
  try {
    const identity = complete
      ? ((await probe(url, options)) ?? identityOf(complete))
      : await readIdentity(connection!);
    if (!identity) return await openUncached(connection ?? (await connect(url, options)), options, ahead);

    const name = connection?.name ?? complete?.note.url ?? url;
    const openWith = (header: Uint8Array, size: number) =>
      openWithDownload(
        new HeadedSource(name, size, header, connection, () => connect(url, options)),
        options,
      );
    let folder = await cache.get(identity.headerSha256);
    const stored = (await folder?.readHeader(identity.headerBytes)) ?? null;
    // One that is damaged is not opened, but fetched again.
    let opened = stored && (await openWith(stored, identity.fileLength).catch(() => null));
    let fetched: Uint8Array<ArrayBuffer> | null = null;
    if (!opened) {
      connection ??= await connect(url, options);
      fetched = await connection.read(0, Math.min(identity.headerBytes, connection.size));
      opened = await openWith(fetched, connection.size);
    }
    const { container, download } = opened;
    try {
      folder ??= await cache.create(identity.headerSha256);
      if (fetched) await folder.writeHeader(fetched);
      await folder.writeNote({ ...download.describe(), url: name, address, lastUsed: Date.now() });
    } catch (error) {
      // What is stored can be read, whether or not there is space for a new note.
      if (fetched) {
        options.onNotice?.(`note: the model is not stored: ${(error as DOMException).message}`);
        await folder?.remove().catch(() => {});
        folder = null;
      }
    }
    await download.begin(folder, ahead, fetched === null);
    return {
      container,
      async finish() {
        await download.finish();
        const old = known.filter(({ folder: { id } }) => id !== identity.headerSha256);
        if (download.isStored) await removeAll(cache, old);
      },
    };
  } catch (error) {
    await connection?.close();
    throw error;
  }
}

const identityOf = ({ folder, note }: FoundModel): Identity => ({
  headerSha256: folder.id,
  headerBytes: note.headerBytes,
  fileLength: note.fileLength,
});

async function findComplete(known: readonly FoundModel[]): Promise<FoundModel | null> {
  for (const model of known) if ((await model.folder.listChunks()).size === model.note.chunks) return model;
  return null;
}

/**
 * What the server has at the address of a model that is stored already.
 * @returns null where it cannot be asked
 */
async function probe(url: string, { signal, onNotice }: OpenModelOptions): Promise<Identity | null> {
  const goOn = (reason: string): null => {
    onNotice?.(`note: the stored model is used, without asking the server whether it has changed: ${reason}`);
    return null;
  };
  if (globalThis.navigator?.onLine === false) return goOn('there is no connection');
  try {
    const source = await connect(url, { signal }, { retries: 1, timeout: PROBE_TIMEOUT_MS });
    try {
      return await readIdentity(source);
    } finally {
      await source.close();
    }
  } catch (error) {
    const { code, message } = error as DuobitError;
    if (['HTTP_NETWORK', 'HTTP_STATUS', 'HTTP_UNAUTHORIZED', 'HTTP_FORBIDDEN'].includes(code))
      return goOn(message);
    throw error;
  }
}

/** Models that were at the address before; not those that another tab downloads. */
async function removeAll(cache: ModelCache, models: readonly FoundModel[]): Promise<void> {
  for (const { folder } of models) await cache.remove(folder.id).catch(() => {});
}
