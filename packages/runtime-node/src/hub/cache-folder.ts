// Where downloaded models lie, and whatever else can be had again; and how the cache's failures are told.
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { DuobitError } from '@duobit/format';
import type { Environment } from './network.ts';

/**
 * `DUOBIT_CACHE`, else the system's place for caches: `$XDG_CACHE_HOME/duobit` or `~/.cache/duobit`, `~/Library/Caches/duobit` on
 * macOS, `%LOCALAPPDATA%\duobit` on Windows.
 */
export function findCacheFolder(
  env: Environment = process.env,
  // Not NodeJS.Platform: the declarations of this package need no types of Node's.
  platform: string = process.platform,
): string {
  if (env.DUOBIT_CACHE?.trim()) return resolve(env.DUOBIT_CACHE.trim());
  const home = env.HOME ?? homedir();
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'duobit');
  if (platform === 'darwin') return join(home, 'Library', 'Caches', 'duobit');
  return join(env.XDG_CACHE_HOME?.trim() || join(home, '.cache'), 'duobit');
}

export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** What came so far stays, and the next attempt goes on from there. */
export function fullFailure(path: string, message: string, cause?: unknown): DuobitError {
  return new DuobitError('CACHE_FULL', message, {
    source: path,
    remedy:
      'Free some space, for example with `duobit remove`, or set DUOBIT_CACHE to a folder on another disk',
    cause,
  });
}

/** A failure of the operating system in the cache's folder; errors of ours stay as they are. */
export function cacheFailure(path: string, error: unknown): unknown {
  if (error instanceof DuobitError) return error;
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return fullFailure(path, 'there is no room left for the model; what came so far stays', error);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new DuobitError('CACHE_PERMISSION', 'the folder of downloaded models may not be written to', {
        source: path,
        remedy: 'Change its permissions, or set DUOBIT_CACHE to another folder',
        cause: error,
      });
    case '':
      return error;
    default:
      return new DuobitError(
        'CACHE_IO',
        `the folder of downloaded models fails: ${(error as Error).message}`,
        {
          source: path,
          remedy: 'Check the disk and DUOBIT_CACHE, then try again',
          cause: error,
        },
      );
  }
}
