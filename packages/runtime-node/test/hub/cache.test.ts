// The cache itself: where it is, what is in it, and what it does when the disk will not.
import { type FileHandle, open, readdir, stat, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { findCacheFolder, openModelCache, openModelSource, pullModel } from '../../src/index.ts';
import { errorOf, expectSame, useSetup } from './setup.ts';

const setup = useSetup();
const ADDRESS = 'hf:user/tiny';
const addModel = () => setup.hub.add('user/tiny', { 'model.duo': setup.whole });
afterEach(() => vi.restoreAllMocks());

/** Makes writes of whole chunks to any file fail, after so many. */
async function failWrites(code: string, after = 0): Promise<void> {
  const handle = await open(setup.path('model.duo'));
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { write } = prototype;
  let count = 0;
  vi.spyOn(prototype, 'write').mockImplementation(function (this: FileHandle, ...args: unknown[]) {
    count += 1;
    if (count > after)
      return Promise.reject(Object.assign(new Error(`${code}: it fails, write`), { code, syscall: 'write' }));
    return write.apply(this, args as never);
  } as never);
}

describe('findCacheFolder', () => {
  it('is the place that each system has for caches', () => {
    const home = '/home/me';
    expect(findCacheFolder({ HOME: home }, 'linux')).toBe('/home/me/.cache/duobit');
    expect(findCacheFolder({ HOME: home, XDG_CACHE_HOME: '/fast' }, 'linux')).toBe('/fast/duobit');
    expect(findCacheFolder({ HOME: home }, 'darwin')).toBe('/home/me/Library/Caches/duobit');
    expect(findCacheFolder({ LOCALAPPDATA: '/local' }, 'win32')).toBe('/local/duobit');
    expect(findCacheFolder({ HOME: home, DUOBIT_CACHE: '/models' }, 'darwin')).toBe('/models');
  });
});

describe('list and remove', () => {
  it('a model under all its addresses, until the last is gone', async () => {
    const { branches } = addModel();
    const cache = openModelCache({ env: setup.env });
    expect(await cache.list()).toEqual([]);
    const pinned = `${ADDRESS}@${branches.get('main')}`;
    const { id, bytes } = await pullModel(ADDRESS, { env: setup.env });
    await pullModel(pinned, { env: setup.env });
    const [model] = await cache.list();
    expect(model).toMatchObject({ id, name: 'model.duo', bytes, totalBytes: bytes, complete: true });
    expect([...model!.addresses].sort()).toEqual([ADDRESS, pinned].sort());
    expect(Date.now() - model!.lastUsed.getTime()).toBeLessThan(60_000);
    expect(await cache.remove(ADDRESS)).toEqual([]);
    expect(await cache.list()).toMatchObject([{ id, addresses: [pinned] }]);
    expect(await cache.remove(pinned)).toMatchObject([{ id }]);
    expect(await cache.list()).toEqual([]);
    expect(await readdir(`${setup.cache}/models`)).toEqual([]);
    expect((await errorOf(cache.remove(pinned))).code).toBe('MODEL_NOT_CACHED');
  });

  it('takes an id, and digits of it', async () => {
    addModel();
    const { id } = await pullModel(ADDRESS, { env: setup.env });
    const cache = openModelCache({ folder: setup.cache });
    expect((await errorOf(cache.remove(id.slice(0, 7)))).code).toBe('MODEL_NOT_CACHED');
    expect(await cache.remove(id.slice(0, 8))).toMatchObject([{ id }]);
    expect(await readdir(`${setup.cache}/sources`)).toEqual([]);
  });

  it('lives with files that are none of its own, and with notes that are damaged', async () => {
    addModel();
    const { id } = await pullModel(ADDRESS, { env: setup.env });
    await writeFile(`${setup.cache}/models/notes.txt`, 'mine');
    for (const name of await readdir(`${setup.cache}/sources`))
      await writeFile(`${setup.cache}/sources/${name}`, '{"addr');
    expect(await openModelCache({ env: setup.env }).list()).toMatchObject([{ id, addresses: [] }]);
    expect((await pullModel(ADDRESS, { env: setup.env })).downloaded).toBe(0);
  });
});

describe('a disk that will not', () => {
  it('is full: a clear error, and what came is gone on from when there is room', async () => {
    addModel();
    await failWrites('ENOSPC', 4);
    const full = await errorOf(pullModel(ADDRESS, { env: setup.env }));
    expect(full.code).toBe('CACHE_FULL');
    expect(full.remedy).toContain('DUOBIT_CACHE');
    vi.restoreAllMocks();
    const { downloaded } = await pullModel(ADDRESS, { env: setup.env });
    expect(downloaded).toBeGreaterThan(0);
    expect(downloaded).toBeLessThan(setup.whole.length - 2 ** 22);
  });

  it.each([
    ['EROFS', 'CACHE_PERMISSION'],
    ['EACCES', 'CACHE_PERMISSION'],
    ['EDQUOT', 'CACHE_FULL'],
    ['EIO', 'CACHE_IO'],
  ])('%s: %s', async (system, code) => {
    addModel();
    await failWrites(system);
    expect((await errorOf(pullModel(ADDRESS, { env: setup.env }))).code).toBe(code);
  });

  it('cannot be written to: a model that is stored loads and is checked all the same', async () => {
    addModel();
    const { path } = await pullModel(ADDRESS, { env: setup.env });
    const before = await stat(path);
    await failWrites('EROFS');
    const source = await openModelSource(ADDRESS, { env: setup.env });
    expectSame(await source.read(0, source.size), setup.whole);
    await source.close();
    expect((await stat(path)).mtimeMs).toBe(before.mtimeMs);
  });

  it('has a file where the folder should be', async () => {
    addModel();
    await writeFile(setup.cache, '');
    expect((await errorOf(pullModel(ADDRESS, { env: setup.env }))).code).toBe('CACHE_IO');
  });
});
