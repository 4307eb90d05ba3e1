// What coordinator and workers say to each other through Redis: one record of the run, one small job a block, and the bytes of blocks
// and tokens under keys of their own, since jobs are JSON.
import { DuobitError, sha256, toHex } from '@duobit/format';
import type { BlockStageOptions } from '../distillation/options.ts';
import type { RotationKind } from '../options.ts';
import { connectionError, type QueueConnection } from './connection.ts';

/** Of all keys that BullMQ makes. */
export const PREFIX = 'duobit';
/**
 * Seconds after which bytes go by themselves: what workers are given, when the run was killed and is never taken up again; what they
 * give, when nobody waited for it any more.
 */
export const KEEP = { given: 30 * 24 * 3600, result: 24 * 3600 } as const;
/** Milliseconds after which a run that gives no sign of life counts as gone. */
export const RUN_LIMIT = 20_000;

/** A run that has jobs, as workers see it. What has to be equal for equal bytes comes first. */
export interface RunInfo {
  /** Version of Duobit. */
  readonly version: string;
  /** `Checkpoint.weightsSha256`. */
  readonly checkpoint: string;
  /** `Engine.name`. */
  readonly engine: string;
  /** Name of its BullMQ queue: a hash of all that the blocks depend on. */
  readonly queue: string;
  /** Tells two coordinators of the same run apart. */
  readonly token: string;
}

/** One block. Members that end in `Key` name bytes in Redis. */
export interface BlockJob {
  readonly stage: number;
  readonly block: number;
  readonly options: BlockStageOptions;
  readonly rotation: RotationKind;
  /** Tokens in a window. */
  readonly context: number;
  readonly tokensSha256: string;
  /** All windows, i32 little-endian. */
  readonly tokensKey: string;
  /** Sensitivities of channels, f32 little-endian, block after block; null for options that need none. */
  readonly sensitivitiesKey: string | null;
  /** The block as the stage before left it, as a `BlockStore` keeps it. */
  readonly beforeKey: string;
  /** Where what comes of it goes, in the same form. */
  readonly resultKey: string;
}

/** A name for the run of one stage. @param identity all that its blocks depend on */
export async function queueNameOf(name: string, identity: string): Promise<string> {
  return `${name}-${toHex(await sha256(new TextEncoder().encode(identity))).slice(0, 16)}`;
}

export function blobKey(queue: string, what: string): string {
  return `${PREFIX}-blob:${queue}:${what}`;
}

/** @throws DuobitError `QUEUE_CONNECTION` when Redis has no room */
export async function putBlob(
  { redis, address }: QueueConnection,
  key: string,
  bytes: Buffer,
  kind: keyof typeof KEEP,
): Promise<void> {
  try {
    await redis.set(key, bytes, 'EX', KEEP[kind]);
  } catch (cause) {
    throw connectionError(
      address,
      `it does not take ${bytes.length} bytes: ${(cause as Error).message}`,
      cause,
    );
  }
}

/** @throws DuobitError `QUEUE_LOST` */
export async function getBlob({ redis, address }: QueueConnection, key: string): Promise<Buffer> {
  const bytes = await redis.getBuffer(key);
  if (bytes === null) throw lostError(address.shown, `${key} is not there any more`);
  return bytes;
}

export function lostError(source: string, fact: string): DuobitError {
  return new DuobitError('QUEUE_LOST', `Redis lost what was on the queue: ${fact}`, {
    source,
    where: 'queue',
    remedy:
      'Give Redis enough memory, without eviction (maxmemory-policy noeviction), and run again: blocks that are done are kept',
  });
}

export async function readRun({ redis, address }: QueueConnection): Promise<RunInfo | null> {
  const text = await redis.get(runKey(address.name));
  return text === null ? null : (JSON.parse(text) as RunInfo);
}

/** @returns whether the name was free. It is the caller's for `RUN_LIMIT` milliseconds, and after each `renewRun` again. */
export async function claimRun({ redis, address }: QueueConnection, info: RunInfo): Promise<boolean> {
  return (await redis.set(runKey(address.name), JSON.stringify(info), 'PX', RUN_LIMIT, 'NX')) === 'OK';
}

/** @returns false when the name is not this coordinator's any more */
export async function renewRun(connection: QueueConnection, { token }: RunInfo): Promise<boolean> {
  if ((await readRun(connection))?.token !== token) return false;
  return (await connection.redis.pexpire(runKey(connection.address.name), RUN_LIMIT)) === 1;
}

export async function endRun(connection: QueueConnection, { token }: RunInfo): Promise<void> {
  if ((await readRun(connection))?.token === token)
    await connection.redis.del(runKey(connection.address.name));
}

function runKey(name: string): string {
  return `${PREFIX}-run:${name}`;
}

/** Numbers of 32 bits as little-endian bytes. */
export function packNumbers(arrays: readonly (Int32Array | Float32Array)[]): Buffer {
  const bytes = Buffer.alloc(4 * arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    const whole = array instanceof Int32Array;
    for (const value of array) at = whole ? bytes.writeInt32LE(value, at) : bytes.writeFloatLE(value, at);
  }
  return bytes;
}

/** Windows of `context` tokens. */
export function unpackTokens(bytes: Buffer, context: number): Int32Array[] {
  const windows = Array.from({ length: bytes.length / 4 / context }, () => new Int32Array(context));
  for (const [i, window] of windows.entries())
    for (let j = 0; j < context; j++) window[j] = bytes.readInt32LE(4 * (i * context + j));
  return windows;
}

/** `count` arrays of equal length. */
export function unpackFloats(bytes: Buffer, count: number): Float32Array[] {
  const length = bytes.length / 4 / count;
  return Array.from({ length: count }, (_, i) =>
    Float32Array.from({ length }, (_, j) => bytes.readFloatLE(4 * (i * length + j))),
  );
}

/** Waits, or less long when the signal comes. */
export async function rest(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener('abort', end);
  });
}
