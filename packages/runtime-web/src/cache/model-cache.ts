// Models that this origin keeps in its private file system, each under its header hash: whatever address it came from, whatever
// ETag a server gives it, the same bytes are found again.
/// <reference lib="dom.asynciterable" />
import { DuobitError } from '@duobit/format';
import { ModelFolder, type ModelNote } from './model-folder.ts';

/** A model that is stored, wholly or in part. */
export interface CachedModel {
  /** Header hash, hex. */
  readonly id: string;
  /** File name, from the address. */
  readonly name: string;
  /** Where it was loaded from last, without query. */
  readonly url: string;
  /** Stored. */
  readonly bytes: number;
  /** What the whole model takes. */
  readonly totalBytes: number;
  /** Whether it can be loaded without a network. */
  readonly complete: boolean;
  readonly lastUsed: Date;
}

/** Space of the stored models and of the origin. */
export interface CacheUsage {
  /** In all models. */
  readonly bytes: number;
  /** The browser's estimate of what the origin uses, models included; null where it gives none. */
  readonly usage: number | null;
  /** The browser's estimate of what the origin may use; null where it gives none. */
  readonly quota: number | null;
}

/** A model of which something is stored. */
export interface FoundModel {
  readonly folder: ModelFolder;
  readonly note: ModelNote;
}

const FOLDER = 'duobit-models';
const MODEL_ID = /^[0-9a-f]{64}$/;

/**
 * Opens the cache of this origin.
 * @param directory where it lies; default: the root of the origin private file system
 * @throws DuobitError `CACHE_UNAVAILABLE` without OPFS: not a secure context, private browsing in some browsers, old browsers
 */
export async function openModelCache(directory?: FileSystemDirectoryHandle): Promise<ModelCache> {
  try {
    const root = directory ?? (await navigator.storage.getDirectory());
    return new ModelCache(await root.getDirectoryHandle(FOLDER, { create: true }));
  } catch (error) {
    throw new DuobitError('CACHE_UNAVAILABLE', `this page has no place for models: ${String(error)}`, {
      remedy: "Serve it over https or from localhost, not in a private window; or load with `cache: 'none'`",
      cause: error,
    });
  }
}

/** The models that this origin has stored. */
export class ModelCache {
  readonly #directory: FileSystemDirectoryHandle;
  #persisted: Promise<boolean> | null = null;

  /** Use `openModelCache`. */
  constructor(directory: FileSystemDirectoryHandle) {
    this.#directory = directory;
  }

  /** All models, the one used last first. */
  async list(): Promise<CachedModel[]> {
    const models: CachedModel[] = [];
    for (const folder of await this.#folders()) {
      const [note, bytes] = await Promise.all([folder.readNote(), folder.measure()]);
      models.push({
        id: folder.id,
        name: fileName(note?.url ?? ''),
        url: note?.url ?? '',
        bytes,
        totalBytes: note?.totalBytes ?? bytes,
        complete: note !== null && bytes === note.totalBytes,
        lastUsed: new Date(note?.lastUsed ?? 0),
      });
    }
    return models.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
  }

  /**
   * Removes what is stored of a model, if anything. One that is loaded goes on: it reads what it still wants from its address.
   * @throws DuobitError `CACHE_IN_USE` while this or another tab downloads it
   */
  async remove(id: string): Promise<void> {
    await lockModel(id, { ifAvailable: true }, async (held) => {
      if (!held)
        throw new DuobitError('CACHE_IN_USE', 'the model is being downloaded, here or in another tab', {
          where: `model ${id}`,
          remedy: 'Stop the download, then remove the model',
        });
      const folder = await this.get(id);
      await folder?.remove();
    });
  }

  /** Space of the stored models, and the browser's estimates for the origin. */
  async usage(): Promise<CacheUsage> {
    const models = await this.list();
    const { usage = null, quota = null } = await estimateStorage();
    return { bytes: models.reduce((sum, { bytes }) => sum + bytes, 0), usage, quota };
  }

  /**
   * Asks the browser, once in a page's life, not to clear this origin's storage when disk space is short. Only on a page's own
   * thread; Firefox asks the user, so call it when the user has chosen to keep a model.
   * @returns whether storage is persistent now
   */
  persist(): Promise<boolean> {
    this.#persisted ??= (async () => {
      const { storage } = navigator;
      return (await storage.persisted?.()) || ((await storage.persist?.()) ?? false);
    })().catch(() => false);
    return this.#persisted;
  }

  /** @returns null where nothing is stored of this model */
  async get(id: string): Promise<ModelFolder | null> {
    if (!MODEL_ID.test(id)) return null;
    try {
      return new ModelFolder(id, this.#directory, await this.#directory.getDirectoryHandle(id));
    } catch {
      return null;
    }
  }

  /** The folder of a model, made where it is not there. */
  async create(id: string): Promise<ModelFolder> {
    const folder = await this.#directory.getDirectoryHandle(id, { create: true });
    return new ModelFolder(id, this.#directory, folder);
  }

  /** Models that were loaded last from the address with this hash, the one used last first. */
  async find(address: string): Promise<FoundModel[]> {
    const found: FoundModel[] = [];
    for (const folder of await this.#folders()) {
      const note = await folder.readNote();
      if (note?.address === address) found.push({ folder, note });
    }
    return found.sort((a, b) => b.note.lastUsed - a.note.lastUsed);
  }

  async #folders(): Promise<ModelFolder[]> {
    const folders: ModelFolder[] = [];
    for await (const [name, handle] of this.#directory.entries()) {
      if (handle.kind === 'directory' && MODEL_ID.test(name))
        folders.push(new ModelFolder(name, this.#directory, handle as FileSystemDirectoryHandle));
    }
    return folders;
  }
}

function fileName(url: string): string {
  const last = url.split('/').at(-1)!;
  try {
    return decodeURIComponent(last) || 'unknown';
  } catch {
    return last;
  }
}

/** Empty where the browser does not say. */
export async function estimateStorage(): Promise<StorageEstimate> {
  return (await globalThis.navigator?.storage?.estimate?.().catch(() => undefined)) ?? {};
}

/** Runs while no other tab or worker of the origin holds the model. @throws what `act` throws, DOMException `AbortError` */
export async function lockModel<T>(
  id: string,
  options: LockOptions,
  act: (held: boolean) => Promise<T>,
): Promise<T> {
  const locks = globalThis.navigator?.locks;
  if (!locks) return act(true);
  return locks.request(`duobit-model-${id}`, options, (lock) => act(lock !== null));
}
