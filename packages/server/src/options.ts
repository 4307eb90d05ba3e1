// What a server can be told, and what it does where it is told nothing.
import type { Grammars } from '@duobit/core';
import { DuobitError } from '@duobit/format';

/** Options of `createServer`. */
export interface ServerOptions {
  /** What the model is called in the API. Default: the model's own name. */
  readonly name?: string | undefined;
  /** What clients have to send as bearer token. Default: nothing. */
  readonly apiKey?: string | undefined;
  /** Requests that may wait while others are answered. Default 256. */
  readonly queue?: number | undefined;
  /** Most tokens of an answer; a request for more is refused. Default: what the context holds, which ends longer answers. */
  readonly maxTokens?: number | undefined;
  /** Most bytes of a request's body. Default 1 MiB. */
  readonly bodyLimit?: number | undefined;
  /** Most seconds from a request to the end of its answer, the time it waits included. Default 600. */
  readonly timeoutSeconds?: number | undefined;
  /** Most seconds that a client may take to send a request. Default 30; a third of it for the headers. */
  readonly receiveSeconds?: number | undefined;
  /** Most seconds that a client may take to read what is left when its answer has ended. Default 30. */
  readonly readSeconds?: number | undefined;
  /** Seconds that an unused connection is kept open; longer than a load balancer in front keeps it. Default 75. */
  readonly keepAliveSeconds?: number | undefined;
  /** Most connections at a time. Default 1024. */
  readonly maxConnections?: number | undefined;
  /** Origins whose pages may call this server; '*': all. Default: none. */
  readonly cors?: readonly string[] | undefined;
  /** For `response_format` and tools that have to be called: `createGrammars()` of `@duobit/grammar`. */
  readonly grammars?: Grammars | undefined;
  /** Where a line of JSON for each request goes. Default: nowhere. */
  readonly log?: LogOptions | undefined;
}

/** Where the log goes and what is in it. */
export interface LogOptions {
  readonly level: LogLevel;
  readonly stream: {
    /** Takes a line, with its end. */
    write(line: string): void;
  };
  /** Whether lines have the text of requests. Default false. */
  readonly prompts?: boolean | undefined;
}

/** Levels of the log, the most talkative first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** One of `LOG_LEVELS`. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** @throws DuobitError `SERVER_OPTION` */
export function resolveOptions(options: ServerOptions, model: { readonly name: string }) {
  if (options.apiKey === '')
    throw new DuobitError('SERVER_OPTION', 'the API key is empty', {
      where: 'apiKey',
      remedy: 'Give a key, or leave it out to serve without one',
    });
  return {
    name: options.name ?? model.name,
    apiKey: options.apiKey ?? null,
    queue: count('queue', options.queue ?? 256, 0),
    maxTokens: count('maxTokens', options.maxTokens ?? Number.MAX_SAFE_INTEGER),
    bodyLimit: count('bodyLimit', options.bodyLimit ?? 2 ** 20),
    timeoutSeconds: seconds('timeoutSeconds', options.timeoutSeconds ?? 600),
    receiveSeconds: seconds('receiveSeconds', options.receiveSeconds ?? 30),
    readSeconds: seconds('readSeconds', options.readSeconds ?? 30),
    keepAliveSeconds: seconds('keepAliveSeconds', options.keepAliveSeconds ?? 75),
    maxConnections: count('maxConnections', options.maxConnections ?? 1024),
    cors: (options.cors ?? []).map(origin),
    grammars: options.grammars,
    log: options.log ?? null,
  };
}

export type ResolvedOptions = ReturnType<typeof resolveOptions>;

function count(name: string, value: number, least = 1): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw invalid(name, value, `a whole number, ${least} or more`);
}

/** Timers have 31 bits of milliseconds. */
export const MOST_SECONDS = 2_147_483;

function seconds(name: string, value: number): number {
  if (value > 0 && value <= MOST_SECONDS) return value;
  throw invalid(name, value, `a number above 0, at most ${MOST_SECONDS}`);
}

/** Browsers send origins without anything behind them; what is not so would never be met. */
function origin(value: string): string {
  if (value === '*' || value === 'null' || /^[a-z][a-z0-9+.-]*:\/\/[^/?#\sA-Z]+$/.test(value)) return value;
  throw invalid('cors', value, 'an origin as browsers send it, like https://example.org, or *');
}

function invalid(where: string, value: number | string, wanted: string): DuobitError {
  return new DuobitError('SERVER_OPTION', `${where} is ${value}; it must be ${wanted}`, {
    where,
    remedy: 'Correct the option',
  });
}
