// The way to Redis: the address, the packages that are loaded on demand, and an answer within bounded time.
import { DuobitError } from '@duobit/format';
import type * as BullMq from 'bullmq';
import type { Redis } from 'ioredis';

/** Milliseconds within which Redis has to answer at first, and later each command. */
const CONNECT_LIMIT = 5_000;
const COMMAND_LIMIT = 30_000;
/** Attempts to connect again, a second apart, when a connection that stood is lost. */
const RECONNECTS = 15;

export interface QueueAddress {
  readonly host: string;
  readonly port: number;
  readonly database: number;
  /** What runs and workers meet under. */
  readonly name: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: boolean;
  /** For messages: without the password. */
  readonly shown: string;
}

/** As ioredis takes them. */
interface ConnectionSettings {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly connectTimeout: number;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: object;
}

export interface QueueConnection {
  readonly address: QueueAddress;
  readonly redis: Redis;
  readonly bullmq: typeof BullMq;
  /** For connections that BullMQ makes by itself. */
  readonly options: ConnectionSettings;
  close(): void;
}

/**
 * `redis://[user:password@]host[:port][/database][/name]`, or `rediss://` over TLS.
 * @throws DuobitError `QUEUE_ADDRESS`
 */
export function parseQueueAddress(url: string): QueueAddress {
  const refuse = (fact: string): DuobitError =>
    new DuobitError('QUEUE_ADDRESS', `the address of the queue ${fact}`, {
      where: 'queue',
      remedy: 'Give redis://host:port, with /name behind it for a queue of its own',
    });
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw refuse('is no URL');
  }
  const { protocol, hostname, port, pathname } = parsed;
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw refuse(`has the scheme ${protocol}//`);
  if (hostname === '') throw refuse('names no host');
  const parts = pathname.split('/').filter((part) => part !== '');
  const database = /^\d+$/.test(parts[0] ?? '') ? Number(parts.shift()) : 0;
  const [name = 'duobit', ...more] = parts;
  if (more.length > 0 || !/^[\w.-]{1,64}$/.test(name))
    throw refuse(
      `has the name '${[name, ...more].join('/')}', not up to 64 letters, digits, dots and dashes`,
    );
  const number = port === '' ? 6379 : Number(port);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: number,
    database,
    name,
    username: parsed.username === '' ? undefined : decodeURIComponent(parsed.username),
    password: parsed.password === '' ? undefined : decodeURIComponent(parsed.password),
    tls: protocol === 'rediss:',
    shown: `${protocol}//${hostname}:${number}/${database === 0 ? '' : `${database}/`}${name}`,
  };
}

/** @throws DuobitError `QUEUE_ADDRESS`, `QUEUE_ABSENT`, `QUEUE_CONNECTION` */
export async function openQueue(url: string): Promise<QueueConnection> {
  const address = parseQueueAddress(url);
  const { bullmq, Redis } = await loadEngine();
  const { host, port, database, username, password, tls } = address;
  let stood = false;
  const options: ConnectionSettings = {
    host,
    port,
    db: database,
    connectTimeout: CONNECT_LIMIT,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
  };
  const redis = new Redis({
    ...options,
    lazyConnect: true,
    commandTimeout: COMMAND_LIMIT,
    // At first one attempt, so that a wrong address is known at once; later a restart of Redis is waited for.
    retryStrategy: (times) => (stood && times <= RECONNECTS ? 1_000 : null),
  });
  // What it says is in the errors of the commands too; an event without a listener would end the process.
  let said = '';
  redis.on('error', (error: Error) => {
    said = error.message;
  });
  try {
    await within(CONNECT_LIMIT, redis.connect());
    await within(CONNECT_LIMIT, redis.ping());
    stood = true;
  } catch (cause) {
    redis.disconnect();
    throw connectionError(address, said === '' ? (cause as Error).message : said, cause);
  }
  return { address, redis, bullmq, options, close: () => redis.disconnect() };
}

/** Whatever listens at the address may take a connection and say nothing. */
async function within<T>(milliseconds: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([answer, limit]);
  } finally {
    clearTimeout(timer);
    // When the limit came first, the answer is an error that nobody waits for.
    answer.catch(() => {});
  }
}

/** @throws DuobitError those of `openQueue` */
export async function checkQueue(url: string): Promise<void> {
  (await openQueue(url)).close();
}

async function loadEngine(): Promise<{
  readonly bullmq: typeof BullMq;
  readonly Redis: typeof Redis;
}> {
  try {
    const [bullmq, { Redis }] = await Promise.all([import('bullmq'), import('ioredis')]);
    return { bullmq, Redis };
  } catch (cause) {
    throw new DuobitError(
      'QUEUE_ABSENT',
      `the packages bullmq and ioredis cannot be loaded: ${(cause as Error).message.split('\n')[0]}`,
      { where: 'queue', remedy: 'Install them: npm install bullmq ioredis', cause },
    );
  }
}

export function connectionError(address: QueueAddress, fact: string, cause: unknown): DuobitError {
  return new DuobitError('QUEUE_CONNECTION', `Redis does not answer: ${fact}`, {
    source: address.shown,
    where: 'queue',
    remedy: 'Check the address, and that Redis runs there and can be reached; then run again',
    cause,
  });
}

/** Runs what speaks to Redis; failures of the connection get their code. @throws DuobitError `QUEUE_CONNECTION` and those of `run` */
export async function speaking<T>(address: QueueAddress, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error && isRedisFailure(error)) throw connectionError(address, error.message, error);
    throw error;
  }
}

function isRedisFailure(error: Error): boolean {
  if (error instanceof DuobitError) return false;
  const redis = ['MaxRetriesPerRequestError', 'ReplyError', 'AbortError'].includes(error.name);
  return (
    redis || /Connection is closed|Command timed out|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND/.test(error.message)
  );
}
