// Downloads into the cache: the right bytes, only once, and only what is missing.
import { open, readdir, readFile, rename, rm, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LIMITS } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { loadModel, openModelCache, openModelSource, pullModel } from '../../src/index.ts';
import { errorOf, expectSame, useSetup } from './setup.ts';

const setup = useSetup();
const REPO = 'user/tiny';
const ADDRESS = `hf:${REPO}`;
const CHUNK = LIMITS.chunkBytes;
/** The container with one bit changed. */
const flipped = (at: number): Uint8Array => setup.whole.map((byte, i) => (i === at ? byte ^ 1 : byte));
const addWhole = () => setup.hub.add(REPO, { 'model.duo': setup.whole, 'README.md': '# tiny' });

describe('pullModel', () => {
  it('stores the model byte for byte, and says what it got', async () => {
    const repository = addWhole();
    const progress: { bytes: number; totalBytes: number; cached: number }[] = [];
    const model = await pullModel(ADDRESS, { env: setup.env, onProgress: (p) => progress.push(p) });
    expectSame(await readFile(model.path), setup.whole);
    expect(model).toMatchObject({
      name: 'model.duo',
      address: ADDRESS,
      bytes: setup.whole.length,
      commit: repository.branches.get('main'),
    });
    expect(model.path.startsWith(setup.cache)).toBe(true);
    expect(progress.at(-1)).toEqual({ bytes: setup.whole.length, totalBytes: setup.whole.length, cached: 0 });
    expect(progress.map(({ bytes }) => bytes)).toEqual(
      progress.map(({ bytes }) => bytes).sort((a, b) => a - b),
    );
    // The probe's 128 bytes are part of the header that follows.
    expect(setup.hub.bytesSent()).toBeLessThanOrEqual(setup.whole.length + LIMITS.preambleBytes);
    expect(model.downloaded).toBeGreaterThan(0.99 * (setup.whole.length - 2 ** 20));
  });

  it('asks again, checks what is stored, and fetches nothing of it', async () => {
    addWhole();
    await pullModel(ADDRESS, { env: setup.env });
    const before = setup.hub.bytesSent();
    const again = await pullModel(ADDRESS, { env: setup.env });
    expect(again.downloaded).toBe(0);
    // Preamble and header: that is how it knows.
    expect(setup.hub.bytesSent() - before).toBeLessThan(200_000);
  });

  it('fetches a chunk again that was damaged on the disk, and no other', async () => {
    addWhole();
    const { path } = await pullModel(ADDRESS, { env: setup.env });
    const file = await open(path, 'r+');
    await file.write(Buffer.from([1, 2, 3]), 0, 3, 3 * CHUNK);
    await file.close();
    const again = await pullModel(ADDRESS, { env: setup.env });
    expect(again.downloaded).toBeGreaterThan(0);
    expect(again.downloaded).toBeLessThanOrEqual(CHUNK);
    expectSame(await readFile(path), setup.whole);
  });

  it('stores a model in several files, all of one commit', async () => {
    const repository = setup.hub.add(REPO, setup.split);
    setup.hub.fault = ({ path }) => {
      // Somebody uploads another version in the middle.
      if (path.includes('parted-1') && repository.titles.length === 2)
        setup.hub.replace(repository, { 'parted-1.duodata': new Uint8Array(99) });
      return null;
    };
    const { path } = await pullModel(ADDRESS, { env: setup.env });
    for (const [name, bytes] of Object.entries(setup.split)) {
      const stored = name.endsWith('.duo') ? path : join(dirname(path), name);
      expectSame(await readFile(stored), bytes);
    }
    expect(repository.titles).toHaveLength(3);
    const model = await loadModel(ADDRESS, { env: setup.env, backend: 'reference', contextLength: 8 });
    expect(await model.forward([256])).toHaveLength(81_920);
    await model.dispose();
  });

  it('takes a new version of a branch, and leaves the old one until it is removed', async () => {
    const repository = addWhole();
    const old = await pullModel(ADDRESS, { env: setup.env });
    setup.hub.replace(repository, { ...setup.split, 'model.duo': setup.split['parted.duo']! });
    const next = await pullModel(`${ADDRESS}/model.duo`, { env: setup.env });
    expect(next.id).not.toBe(old.id);
    const pinned = await pullModel(`${ADDRESS}@${old.commit}/model.duo`, { env: setup.env });
    expect(pinned).toMatchObject({ id: old.id, downloaded: 0 });
  });

  it('goes on over resets, 503 and answers that end early', async () => {
    addWhole();
    let count = 0;
    setup.hub.fault = ({ host }) => {
      count += 1;
      if (count % 4 === 1) return { reset: true };
      if (count % 4 === 2) return { status: 503, headers: { 'Retry-After': '0' } };
      return host === 'storage' ? { cutAfter: CHUNK + 12_345 } : null;
    };
    const { path } = await pullModel(ADDRESS, { env: setup.env });
    expectSame(await readFile(path), setup.whole);
    expect(count).toBeGreaterThan(10);
  });

  it('keeps what came when it is aborted, and fetches at most a chunk twice', async () => {
    addWhole();
    const controller = new AbortController();
    const aborted = await errorOf(
      pullModel(ADDRESS, {
        env: setup.env,
        signal: controller.signal,
        onProgress: ({ bytes }) => bytes > 2.5 * CHUNK && controller.abort(),
      }),
    );
    expect(aborted.code).toBe('ABORTED');
    const [cut] = await openModelCache({ env: setup.env }).list();
    expect(cut).toMatchObject({
      complete: false,
      name: 'model.duo',
      totalBytes: setup.whole.length,
      addresses: [ADDRESS],
    });
    const { path, downloaded } = await pullModel(ADDRESS, { env: setup.env });
    expect(downloaded).toBeLessThan(setup.whole.length - CHUNK);
    expectSame(await readFile(path), setup.whole);
    expect((await readdir(dirname(path))).sort()).toEqual([
      '.model.json',
      expect.stringMatching(/^[0-9a-f]{64}\.duo$/),
    ]);
  });

  it('believes no length: a part that was torn is fetched again', async () => {
    addWhole();
    const { path, id } = await pullModel(ADDRESS, { env: setup.env });
    const partial = join(dirname(path), `.${id}.duo.part`);
    await rename(path, partial);
    // As after a loss of power: the length is there, the bytes are not.
    await truncate(partial, 2 * CHUNK);
    await truncate(partial, setup.whole.length);
    const again = await pullModel(ADDRESS, { env: setup.env });
    expect(again.downloaded).toBeGreaterThan(2 * CHUNK);
    expectSame(await readFile(path), setup.whole);
  });

  it('refuses wrong bytes with CHUNK_HASH, and the model does not count as there', async () => {
    setup.hub.add(REPO, { 'model.duo': flipped(setup.whole.length - 9) });
    const error = await errorOf(pullModel(ADDRESS, { env: setup.env }));
    expect(error.code).toBe('CHUNK_HASH');
    expect(error.describe()).toMatch(/segment .*, chunk/);
    const cache = openModelCache({ env: setup.env });
    expect(await cache.list()).toMatchObject([{ complete: false }]);
    // Nor is it in the way for ever: what came of it goes by the address that it was asked for by.
    expect(await cache.remove(ADDRESS)).toHaveLength(1);
    expect(await cache.list()).toEqual([]);
  });

  it('tells when the file changes while it is downloaded', async () => {
    const repository = addWhole();
    const other = flipped(200_000);
    const url = `${setup.hub.url}/${REPO}/resolve/main/model.duo`;
    let reads = 0;
    setup.hub.fault = ({ host }) => {
      reads += host === 'storage' ? 1 : 0;
      // Preamble and header are read by then; the answer that is cut is asked for again, from the other version.
      if (host !== 'storage' || reads !== 3) return null;
      setup.hub.replace(repository, { 'model.duo': other });
      return { cutAfter: CHUNK };
    };
    expect((await errorOf(pullModel(url, { env: setup.env }))).code).toBe('HTTP_CHANGED');
  });

  it('says which container is meant when there are several or none', async () => {
    const repository = setup.hub.add(REPO, { 'README.md': '' });
    expect((await errorOf(pullModel(ADDRESS, { env: setup.env }))).code).toBe('HUB_NO_MODEL');
    setup.hub.replace(repository, { 'a.duo': setup.whole, 'sub/b.duo': setup.whole });
    const several = await errorOf(pullModel(ADDRESS, { env: setup.env }));
    expect(several.code).toBe('HUB_SEVERAL_MODELS');
    expect(several.describe()).toContain('a.duo, sub/b.duo');
    expect((await errorOf(pullModel(`${ADDRESS}/c.duo`, { env: setup.env }))).remedy).toContain('sub/b.duo');
    expect((await errorOf(pullModel('hf:user', { env: setup.env }))).code).toBe('HUB_ADDRESS');
    expect((await errorOf(pullModel('model.duo', { env: setup.env }))).code).toBe('MODEL_ADDRESS');
    const requests = setup.hub.requests.length;
    for (const open of [pullModel, openModelSource])
      expect((await errorOf(open(`${setup.hub.url}/${REPO}`, { env: setup.env }))).remedy).toBe(
        `Write hf:${REPO}`,
      );
    expect(setup.hub.requests).toHaveLength(requests);
  });

  it('refuses what is no container, with the reason', async () => {
    setup.hub.add(REPO, { 'model.duo': new Uint8Array(5000).fill(7) });
    expect((await errorOf(pullModel(ADDRESS, { env: setup.env }))).code).toMatch(/MAGIC|PREAMBLE|IDENTIFIER/);
    setup.hub.add(REPO, { 'model.duo': setup.whole.subarray(0, 1000) });
    expect((await errorOf(pullModel(ADDRESS, { env: setup.env }))).remedy).toBeTruthy();
  });
});

describe('loading', () => {
  it('downloads once; after that no server is asked', async () => {
    addWhole();
    const open = async (): Promise<void> => {
      const model = await loadModel(ADDRESS, { env: setup.env, backend: 'reference', contextLength: 8 });
      expect(await model.forward([256])).toHaveLength(81_920);
      await model.dispose();
    };
    await open();
    const requests = setup.hub.requests.length;
    await open();
    expect(setup.hub.requests.length).toBe(requests);
    await setup.hub.close();
    await open();
  });

  it('takes https addresses the same way, and never keeps their query', async () => {
    addWhole();
    const url = `${setup.hub.url}/${REPO}/resolve/main/model.duo?signature=secret`;
    const source = await openModelSource(url, { env: setup.env });
    expect(source.name).toBe(url.split('?')[0]);
    expectSame(await source.read(0, source.size), setup.whole);
    await source.close();
    const { length } = setup.hub.requests;
    await (await openModelSource(url, { env: setup.env })).close();
    expect(setup.hub.requests).toHaveLength(length);
    for (const name of await readdir(join(setup.cache, 'sources')))
      expect(await readFile(join(setup.cache, 'sources', name), 'utf8')).not.toContain('secret');
  });

  it('reads a header by ranges, and stores nothing, when told so', async () => {
    addWhole();
    const source = await openModelSource(ADDRESS, { env: setup.env, store: false });
    expect(await source.read(0, 8)).toEqual(new Uint8Array(setup.whole.subarray(0, 8)));
    await source.close();
    expect(await stat(setup.cache).catch(() => null)).toBeNull();
  });

  it('HF_HUB_OFFLINE uses what is stored and nothing else', async () => {
    addWhole();
    const env = { ...setup.env, HF_HUB_OFFLINE: '1' };
    expect((await errorOf(openModelSource(ADDRESS, { env }))).code).toBe('OFFLINE');
    expect(setup.hub.requests).toHaveLength(0);
    await pullModel(ADDRESS, { env: setup.env });
    await (await openModelSource(ADDRESS, { env })).close();
  });

  it('a half file never counts: what was cut is downloaded on', async () => {
    addWhole();
    const { path } = await pullModel(ADDRESS, { env: setup.env });
    await rm(path);
    const source = await openModelSource(ADDRESS, { env: setup.env });
    expectSame(await source.read(0, source.size), setup.whole);
    await source.close();
  });
});
