// Keeps what was measured of adapters in one file of the user's cache folder.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TuningStore } from '@duobit/runtime-web';

/** Most adapters and states of kernels that are kept; the oldest go first. */
const MOST_ENTRIES = 32;

/** The folder where a platform's programs keep what they can do without. */
export function cacheFolder(
  platform: NodeJS.Platform = process.platform,
  env: NodeJS.ProcessEnv = process.env,
): string {
  if (platform === 'win32') return env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local');
  return env.XDG_CACHE_HOME || join(homedir(), platform === 'darwin' ? 'Library/Caches' : '.cache');
}

export function createTuningFile(path = join(cacheFolder(), 'duobit', 'webgpu-tuning.json')): TuningStore {
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
