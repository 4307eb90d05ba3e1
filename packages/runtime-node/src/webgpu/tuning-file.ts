// Keeps what was measured of adapters in one file of the cache folder.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TuningStore } from '@duobit/runtime-web';
import { findCacheFolder } from '../hub/cache-folder.ts';

/** Most adapters and states of kernels that are kept; the oldest go first. */
const MOST_ENTRIES = 32;

export function createTuningFile(path = join(findCacheFolder(), 'webgpu-tuning.json')): TuningStore {
  const readAll = async (): Promise<Record<string, string>> => {
    try {
      return { ...JSON.parse(await readFile(path, 'utf8')) };
    } catch {
      // Not there yet, or damaged: it is written anew.
      return {};
    }
  };
  return {
    read: async (key) => {
      const value = (await readAll())[key];
      return typeof value === 'string' ? value : null;
    },
    async write(key, value) {
      const { [key]: _replaced, ...others } = await readAll();
      const entries = [...Object.entries(others), [key, value]].slice(-MOST_ENTRIES);
      await mkdir(dirname(path), { recursive: true });
      // Others may read or write it at the same time: it is whole at every moment, and the last one wins.
      const draft = `${path}.${process.pid}`;
      try {
        await writeFile(draft, JSON.stringify(Object.fromEntries(entries), null, 2));
        await rename(draft, path);
      } finally {
        await rm(draft, { force: true });
      }
    },
  };
}
