// One process at a time: a file that is only made where there is none, touched while its holder lives, and taken over when that
// died. Two holders at once, which a take-over in the same instant can make, cost a second download and nothing else, as everything
// that is written under a lock has its content fixed by hashes.
import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { DuobitError } from '@duobit/format';
import { systemCode } from './cache-folder.ts';

const TOUCH_MS = 2_000;
/** A holder that has not touched its file for so long is dead, or as good as that. */
const STALE_MS = 15_000;
const POLL_MS = 200;

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly id: string;
}

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called about five times a second while another process holds the lock. */
  readonly onWait?: (() => Promise<void>) | undefined;
}

/**
 * Runs `work` while holding the lock of `path`, whose folder exists.
 * @throws DuobitError `ABORTED` while waiting; what `work` and the file system throw
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const own: Holder = { pid: process.pid, host: hostname(), id: randomUUID() };
  await acquire(path, own, options);
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, TOUCH_MS);
  timer.unref();
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if ((await readHolder(path))?.id === own.id) await rm(path, { force: true }).catch(() => {});
  }
}

async function acquire(path: string, own: Holder, { signal, onWait }: LockOptions): Promise<void> {
  /** When this process first saw the file as it is: clocks of other machines do not matter. */
  let seen = { mark: '', since: 0 };
  for (;;) {
    if (signal?.aborted)
      throw new DuobitError('ABORTED', 'stopped while another process had the model', { source: path });
    if (await create(path, own)) return;
    const holder = await readHolder(path);
    const mark = `${holder?.id} ${await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    )}`;
    const now = performance.now();
    if (mark !== seen.mark) seen = { mark, since: now };
    if ((holder && isDead(holder)) || now - seen.since > STALE_MS) {
      const aside = `${path}.${own.id}`;
      await rename(path, aside).catch(() => {});
      await rm(aside, { force: true });
      continue;
    }
    await onWait?.();
    await sleep(POLL_MS);
  }
}

/** Content and name appear at once, so that no one reads half of it. */
async function create(path: string, own: Holder): Promise<boolean> {
  const draft = `${path}.${own.id}`;
  try {
    await writeFile(draft, JSON.stringify(own), { flag: 'wx' });
    await link(draft, path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    // A file system without hard links.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(systemCode(error))) throw error;
    return await createPlainly(path, own);
  } finally {
    await rm(draft, { force: true }).catch(() => {});
  }
}

async function createPlainly(path: string, own: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(own), { flag: 'wx' });
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<Holder | null> {
  try {
    const { pid, host, id } = JSON.parse(await readFile(path, 'utf8'));
    return Number.isInteger(pid) && typeof host === 'string' && typeof id === 'string'
      ? { pid, host, id }
      : null;
  } catch {
    return null;
  }
}

/** Only of processes on this machine can that be known at once. */
function isDead({ pid, host }: Holder): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCode(error) === 'ESRCH';
  }
}
