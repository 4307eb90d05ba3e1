// Models on this machine's disk, each in a folder named by its header hash, and which address led to which. The container's file
// appears under its name last, so whoever sees it has the whole model.
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { DuobitError, isRemoteAddress } from '@duobit/format';
import { createFileSink, makeFolder } from '@duobit/format/node';
import { cacheFailure, findCacheFolder } from './cache-folder.ts';
import { withLock } from './lock.ts';
import type { Environment } from './network.ts';
import { sizeOf } from './stored-file.ts';

/** A model that is stored, wholly or in part. */
export interface CachedModel {
  /** Header hash, hex. */
  readonly id: string;
  /** Name of the file that was downloaded. */
  readonly name: string;
  /** What it was asked for by, without query. Empty for a version that another has replaced. */
  readonly addresses: readonly string[];
  /** Stored. */
  readonly bytes: number;
  /** What the whole model takes. */
  readonly totalBytes: number;
  /** Whether it can be loaded without a network. */
  readonly complete: boolean;
  readonly lastUsed: Date;
}

/** What an address led to when it was last asked. */
export interface SourceNote {
  /** Without query, which may hold credentials. */
  readonly address: string;
  readonly id: string;
  /** Of the hub's repository; null elsewhere. */
  readonly commit: string | null;
}

/** What is known of a model before its container is whole. */
export interface ModelNote {
  readonly name: string;
  readonly totalBytes: number;
  /** That it was last downloaded from, without query: until it is whole, no source leads to it. */
  readonly address: string;
}

/** Options of `openModelCache`. */
export interface ModelCacheOptions {
  /** Default: `DUOBIT_CACHE`, else the system's place for caches. */
  readonly folder?: string | undefined;
  readonly env?: Environment | undefined;
}

const MODEL_ID = /^[0-9a-f]{64}$/;
const MODEL_NOTE = '.model.json';

/** Nothing is made or read before it is needed. */
export function openModelCache({ folder, env = process.env }: ModelCacheOptions = {}): ModelCache {
  return new ModelCache(folder ?? findCacheFolder(env));
}

/** The folder of downloaded models, safe under several processes. */
export class ModelCache {
  readonly folder: string;

  /** Use `openModelCache`. */
  constructor(folder: string) {
    this.folder = folder;
  }

  /** The folder of a model, whether or not it is there. */
  folderOf(id: string): string {
    return join(this.folder, 'models', id);
  }

  /** The container's own file. Data files lie beside it under their names, of which none can be this: the hash covers them. */
  fileOf(id: string): string {
    return join(this.folderOf(id), `${id}.duo`);
  }

  /** Whether all files of a model are stored. */
  async isWhole(id: string): Promise<boolean> {
    return (await sizeOf(this.fileOf(id))) !== null;
  }

  /** All models, the one used last first. @throws DuobitError `CACHE_IO`, `CACHE_PERMISSION` */
  async list(): Promise<CachedModel[]> {
    const notes = await this.#readSources();
    const ids = (await this.#names('models')).filter((name) => MODEL_ID.test(name));
    const models = await Promise.all(ids.map((id) => this.#describe(id, notes)));
    return models.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
  }

  async #describe(id: string, sources: ReadonlyMap<string, SourceNote>): Promise<CachedModel> {
    const note = await this.#readJson<ModelNote>(join(this.folderOf(id), MODEL_NOTE));
    const facts = await stat(this.fileOf(id)).catch(() => null);
    const begun = facts ?? (await stat(this.folderOf(id)).catch(() => null));
    const bytes = await this.measure(id);
    const led = [...sources.values()].filter((source) => source.id === id).map(({ address }) => address);
    return {
      id,
      name: note?.name ?? 'unknown',
      addresses: facts === null && note?.address !== undefined ? [...new Set([...led, note.address])] : led,
      bytes,
      totalBytes: note?.totalBytes ?? bytes,
      complete: facts !== null,
      lastUsed: facts ? facts.atime : (begun?.mtime ?? new Date(0)),
    };
  }

  /** Bytes stored of a model. */
  async measure(id: string): Promise<number> {
    const names = (await this.#names('models', id)).filter(
      (name) => !name.startsWith('.') || name.endsWith('.part'),
    );
    const sizes = await Promise.all(names.map((name) => sizeOf(join(this.folderOf(id), name))));
    return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  }

  /** The whole model that an address led to when it was last asked; null where there is none. Marks it as used. */
  async find(key: string): Promise<string | null> {
    const note = await this.#readJson<SourceNote>(this.#sourceFile(key));
    if (!note || !MODEL_ID.test(note.id) || !(await this.isWhole(note.id))) return null;
    await this.touch(note.id);
    return note.id;
  }

  /** Its last use is now, where that can be written. */
  async touch(id: string): Promise<void> {
    const file = this.fileOf(id);
    const facts = await stat(file).catch(() => null);
    if (facts) await utimes(file, new Date(), facts.mtime).catch(() => {});
  }

  /** @throws DuobitError `CACHE_PERMISSION`, `CACHE_FULL`, `CACHE_IO` */
  async writeSource(key: string, note: SourceNote): Promise<void> {
    await this.#writeJson(join(this.folder, 'sources'), `${sourceName(key)}.json`, note);
  }

  /** @throws as `writeSource` */
  async writeNote(id: string, note: ModelNote): Promise<void> {
    await this.#writeJson(this.folderOf(id), MODEL_NOTE, note);
  }

  /**
   * Removes a model, or what a download that was cut short left of it.
   * @param what its address, or at least eight digits of its id
   * @returns what was removed. A model that other addresses lead to loses only this one, and is not among them.
   * @throws DuobitError `MODEL_NOT_CACHED`, `ABORTED`, `CACHE_PERMISSION`, `CACHE_IO`
   */
  async remove(what: string, signal?: AbortSignal): Promise<CachedModel[]> {
    const sources = [...(await this.#readSources())];
    const isMeant = isRemoteAddress(what)
      ? ({ addresses }: CachedModel) => addresses.includes(what.replace(/[?#].*/, ''))
      : ({ id }: CachedModel) => /^[0-9a-f]{8,64}$/.test(what) && id.startsWith(what);
    const found = (await this.list()).filter(isMeant);
    if (found.length === 0) {
      throw new DuobitError('MODEL_NOT_CACHED', 'no such model is stored', {
        source: what,
        remedy: 'See what there is with `duobit list`',
      });
    }
    const removed: CachedModel[] = [];
    for (const model of found) {
      const own = sources.filter(([, { id }]) => id === model.id);
      const gone = own.filter(
        ([, { address }]) => !isRemoteAddress(what) || address === what.replace(/[?#].*/, ''),
      );
      try {
        if (gone.length === own.length) {
          await this.#removeFiles(model.id, signal);
          removed.push(model);
        }
        for (const [name] of gone) await rm(join(this.folder, 'sources', `${name}.json`), { force: true });
      } catch (error) {
        throw cacheFailure(this.folderOf(model.id), error);
      }
    }
    return removed;
  }

  async #removeFiles(id: string, signal: AbortSignal | undefined): Promise<void> {
    await withLock(this.lockOf(id), { signal }, async () => {
      // What makes it count as whole goes first.
      await rm(this.fileOf(id), { force: true });
      await rm(this.folderOf(id), { recursive: true, force: true });
    });
  }

  /** Beside the folder, so that it can be held while that is removed. */
  lockOf(id: string): string {
    return join(this.folder, 'models', `${id}.lock`);
  }

  /** By their names in the folder of sources. */
  async #readSources(): Promise<ReadonlyMap<string, SourceNote>> {
    const names = (await this.#names('sources')).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
    const notes = await Promise.all(
      names.map((name) => this.#readJson<SourceNote>(join(this.folder, 'sources', name))),
    );
    return new Map(names.flatMap((name, i) => (notes[i] ? [[name.slice(0, 64), notes[i]] as const] : [])));
  }

  #sourceFile(key: string): string {
    return join(this.folder, 'sources', `${sourceName(key)}.json`);
  }

  async #names(...parts: readonly string[]): Promise<string[]> {
    const folder = join(this.folder, ...parts);
    try {
      return await readdir(folder);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw cacheFailure(folder, error);
    }
  }

  /** Null for what is not there or is no note, as after a crash of the machine. */
  async #readJson<T extends object>(path: string): Promise<T | null> {
    try {
      const found: unknown = JSON.parse(await readFile(path, 'utf8'));
      return typeof found === 'object' && found !== null ? (found as T) : null;
    } catch {
      return null;
    }
  }

  async #writeJson(folder: string, name: string, note: object): Promise<void> {
    const path = join(folder, name);
    try {
      await makeFolder(folder);
      const sink = await createFileSink(path);
      try {
        await sink.write(0, new TextEncoder().encode(`${JSON.stringify(note)}\n`));
        await sink.finish();
      } catch (error) {
        await sink.abort();
        throw error;
      }
    } catch (error) {
      // A sink's error has the system's as its cause.
      throw cacheFailure(path, error instanceof DuobitError ? (error.cause ?? error) : error);
    }
  }
}

const sourceName = (key: string): string => createHash('sha256').update(key).digest('hex');
