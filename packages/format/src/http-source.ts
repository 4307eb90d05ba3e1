// A file on a web server as a source: range requests, repeated where that may help, all of one version of the file.
// docs/format.md, "Remote reading". Needs only `fetch`, so it runs in browsers and Node alike.
import { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import {
  type Fetch,
  type HttpClient,
  type RangeHead,
  requestRange,
  Stopper,
  TransientFailure,
} from './http-request.ts';
import { requireRange } from './memory-source.ts';
import type { ByteSource, OnBytes } from './source.ts';

/** A range that came over the network. */
export interface HttpRead {
  readonly offset: number;
  readonly length: number;
  /** 1 when the first attempt succeeded. */
  readonly requests: number;
}

/** Options of `createHttpSource`. */
export interface HttpSourceOptions {
  /** Default: the platform's. */
  readonly fetch?: Fetch;
  /** Sent with every request, for example Authorization. In a browser, each may cost a CORS preflight. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends running and later reads with `ABORTED`. */
  readonly signal?: AbortSignal;
  /** Attempts beyond the first that one read may make without getting a whole chunk (4 MiB); default 4. */
  readonly retries?: number;
  /** Milliseconds before the second attempt; doubles up to 8 s, half of it random. Default 250. */
  readonly retryDelay?: number;
  /** Milliseconds without any byte after which an attempt counts as failed; default 30,000. */
  readonly timeout?: number;
  /** Called after each finished read that needed the network. */
  readonly onRead?: (read: HttpRead) => void;
}

/** A container's preamble: what its reader wants first. */
const PROBE_BYTES = LIMITS.preambleBytes;
const MOST_DELAY_MS = 8_000;
/** A server that asks for more patience than this is not waited for. */
const MOST_RETRY_AFTER_MS = 60_000;

export interface RetryPolicy {
  readonly retries: number;
  readonly delayMs: number;
}

/**
 * Asks for the first 128 bytes, learns size and version of the file from the answer, and keeps these bytes.
 *
 * Every answer must be a 206 with exactly the range asked for, not encoded, of the same total length, and with the
 * ETag of the first answer; where that one had no ETag or a weak one, with its Last-Modified, if any. Network errors,
 * 429, 5xx and bodies cut short are tried again with exponential backoff, from the byte they got to; other statuses
 * are not. Redirects are followed each time, as their targets may expire.
 * @throws DuobitError `HTTP_REQUEST`, `HTTP_NETWORK`, `HTTP_STATUS`, `HTTP_RANGE_REFUSED`, `HTTP_ENCODING`,
 *   `HTTP_CONTENT_RANGE`, `HTTP_TRUNCATED`, `HTTP_OVERLONG`, `HTTP_UNAUTHORIZED`, `HTTP_FORBIDDEN`, `HUB_GATED`, `HUB_NOT_FOUND`,
 *   `SOURCE_MISSING`, `SOURCE_EMPTY`, `ABORTED`; reads also `HTTP_CHANGED`, `SOURCE_TRUNCATED`, `SOURCE_TOO_LARGE`, `SOURCE_CLOSED`
 */
export async function createHttpSource(url: string, options: HttpSourceOptions = {}): Promise<ByteSource> {
  const client = prepareClient(url, options);
  const policy = retryPolicy(options);
  const stopper = new Stopper();
  const release = stopWith(stopper, options.signal, client.name);
  try {
    const probe: { head: RangeHead | null; prefix: Uint8Array } = { head: null, prefix: new Uint8Array(0) };
    const range = { first: 0, last: PROBE_BYTES - 1, size: null };
    const requests = await withRetries(client, policy, stopper, async () => {
      let filled = 0;
      const accept = (head: RangeHead): number => {
        probe.head = head;
        probe.prefix = new Uint8Array(head.last + 1);
        return probe.prefix.length;
      };
      await requestRange(client, range, stopper, accept, (bytes) => {
        probe.prefix.set(bytes, filled);
        filled += bytes.length;
      });
    });
    const { head, prefix } = probe;
    // Unreachable: without a head the request has thrown.
    if (!head) throw new DuobitError('INTERNAL', 'an answer had no head', { source: client.name });
    options.onRead?.({ offset: 0, length: prefix.length, requests });
    const openBeside = (name: string) => createHttpSource(addressBeside(client.url, name), options);
    return new HttpSource(client, policy, stopper, release, head, prefix, openBeside, options.onRead);
  } catch (error) {
    release();
    throw error;
  }
}

export function retryPolicy({ retries = 4, retryDelay = 250 }: HttpSourceOptions): RetryPolicy {
  return { retries, delayMs: retryDelay };
}

/** Stops with `ABORTED` when the signal does, until the returned function is called. */
export function stopWith(stopper: Stopper, signal: AbortSignal | undefined, name: string): () => void {
  const abort = (): void =>
    stopper.stop(new DuobitError('ABORTED', 'reading was stopped by the caller', { source: name }));
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  return () => signal?.removeEventListener('abort', abort);
}

/** @throws DuobitError `HTTP_REQUEST` */
export function prepareClient(url: string, options: HttpSourceOptions): HttpClient {
  const refuse = (message: string, cause?: unknown): DuobitError =>
    new DuobitError('HTTP_REQUEST', message, {
      remedy:
        'Give an http or https address without user name, valid headers, and whole numbers that are not negative',
      cause,
    });
  let parsed: URL;
  try {
    parsed = new URL(url, globalThis.location?.href);
    new Headers({ ...options.headers });
  } catch (error) {
    throw refuse('the address or a header is not valid', error);
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    throw refuse(`the address has the scheme "${parsed.protocol}"`);
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw refuse('the address holds a user name or password');
  }
  const { retries = 0, retryDelay = 0, timeout = 30_000 } = options;
  if (![retries, retryDelay, timeout - 1].every((value) => Number.isSafeInteger(value) && value >= 0)) {
    throw refuse(`retries ${retries}, retryDelay ${retryDelay} or timeout ${timeout} is out of range`);
  }
  parsed.hash = '';
  return {
    url: parsed.href,
    name: parsed.origin + parsed.pathname,
    // Called through a function: a browser's fetch refuses another receiver than its window.
    fetch: options.fetch ?? ((address, init) => globalThis.fetch(address, init)),
    headers: options.headers ?? {},
    timeoutMs: timeout,
  };
}

/** The address with the last part of its path replaced; the query, which may hold credentials, stays. */
function addressBeside(url: string, name: string): string {
  const address = new URL(url);
  address.pathname = address.pathname.replace(/[^/]*$/, encodeURIComponent(name));
  return address.href;
}

/**
 * Repeats what fails transiently. `progress` is the number of bytes so far: a whole chunk since the last failure makes it the first.
 * Returns the number of attempts. @throws DuobitError, never a TransientFailure
 */
export async function withRetries(
  client: HttpClient,
  policy: RetryPolicy,
  stopper: Stopper,
  attempt: () => Promise<void>,
  progress: () => number = () => 0,
): Promise<number> {
  let failedAt = 0;
  for (let attempts = 1, requests = 1; ; attempts++, requests++) {
    stopper.check();
    try {
      await attempt();
      return requests;
    } catch (error) {
      if (!(error instanceof TransientFailure)) throw error;
      if (progress() - failedAt >= LIMITS.chunkBytes) attempts = 1;
      failedAt = progress();
      const wait = error.retryAfterMs;
      const tooLong = wait !== null && wait > MOST_RETRY_AFTER_MS;
      if (attempts > policy.retries || tooLong) {
        const asks = tooLong ? `; it asks to wait ${Math.round(wait / 1000)} s` : '';
        const message = `${error.message}${asks} (${attempts} ${attempts === 1 ? 'attempt' : 'attempts'})`;
        throw new DuobitError(error.code, message, {
          source: client.name,
          remedy: error.remedy,
          cause: error.cause,
        });
      }
      const backoff = Math.min(MOST_DELAY_MS, policy.delayMs * 2 ** (attempts - 1));
      await pause(wait ?? backoff * (0.5 + 0.5 * Math.random()), stopper);
    }
  }
}

/** Ends early when stopped. */
function pause(milliseconds: number, stopper: Stopper): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      unlisten();
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    const unlisten = stopper.listen(end);
  });
}

/** An ETag that says "the same bytes"; a weak one only says "as good". */
function strongEtag({ etag }: RangeHead): string | null {
  return etag === null || etag.startsWith('W/') ? null : etag;
}

class HttpSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #client: HttpClient;
  readonly #policy: RetryPolicy;
  readonly #stopper: Stopper;
  readonly #release: () => void;
  readonly #pinned: RangeHead;
  readonly #prefix: Uint8Array;
  readonly openBeside: (name: string) => Promise<ByteSource>;
  readonly #onRead: HttpSourceOptions['onRead'];

  constructor(
    client: HttpClient,
    policy: RetryPolicy,
    stopper: Stopper,
    release: () => void,
    pinned: RangeHead,
    prefix: Uint8Array,
    openBeside: (name: string) => Promise<ByteSource>,
    onRead: HttpSourceOptions['onRead'],
  ) {
    this.name = client.name;
    this.size = pinned.total;
    this.#client = client;
    this.#policy = policy;
    this.#stopper = stopper;
    this.#release = release;
    this.#pinned = pinned;
    this.#prefix = prefix;
    this.openBeside = openBeside;
    this.#onRead = onRead;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    requireRange(this.name, this.size, offset, length);
    const bytes = this.#allocate(length);
    await this.readInto(offset, bytes);
    return bytes;
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    const { length } = target;
    requireRange(this.name, this.size, offset, length);
    this.#stopper.check();
    const known = this.#prefix.subarray(offset, offset + length);
    target.set(known);
    if (known.length === length) return;
    let filled = known.length;
    await this.#request(offset + filled, length - filled, (bytes) => {
      target.set(bytes, filled);
      filled += bytes.length;
    });
  }

  /** The same range rules, retries and pinning as `read`; memory is that of one piece, whatever the length. */
  async stream(offset: number, length: number, onBytes: OnBytes): Promise<void> {
    requireRange(this.name, this.size, offset, length);
    this.#stopper.check();
    await this.#request(offset, length, onBytes);
  }

  /** Ends running reads with `SOURCE_CLOSED`. */
  async close(): Promise<void> {
    this.#release();
    const closed = new DuobitError('SOURCE_CLOSED', 'the source is closed already', { source: this.name });
    this.#stopper.stop(closed);
  }

  /** Every attempt goes on where the one before stopped. */
  async #request(offset: number, length: number, onBytes: OnBytes): Promise<void> {
    let done = 0;
    const attempt = async (): Promise<void> => {
      if (done === length) return;
      const accept = (head: RangeHead): number => {
        this.#requireSameVersion(head);
        return head.last - head.first + 1;
      };
      const range = { first: offset + done, last: offset + length - 1, size: this.size };
      await requestRange(this.#client, range, this.#stopper, accept, (bytes) => {
        done += bytes.length;
        return onBytes(bytes);
      });
    };
    const requests = await withRetries(this.#client, this.#policy, this.#stopper, attempt, () => done);
    this.#onRead?.({ offset, length, requests });
  }

  #requireSameVersion(head: RangeHead): void {
    const etag = strongEtag(this.#pinned);
    const changes: string[] = [];
    if (head.total !== this.#pinned.total) changes.push(`length ${this.#pinned.total} to ${head.total}`);
    if (etag !== null) {
      if (head.etag !== etag) changes.push(`ETag ${etag} to ${head.etag ?? 'none'}`);
    } else if (head.lastModified !== this.#pinned.lastModified && this.#pinned.lastModified !== null) {
      changes.push(`Last-Modified ${this.#pinned.lastModified} to ${head.lastModified ?? 'none'}`);
    }
    if (changes.length === 0) return;
    throw new DuobitError(
      'HTTP_CHANGED',
      `the file changed on the server while in use: ${changes.join(', ')}`,
      {
        source: this.name,
        remedy: 'Open the file again',
      },
    );
  }

  #allocate(length: number): Uint8Array<ArrayBuffer> {
    try {
      return new Uint8Array(length);
    } catch (error) {
      throw new DuobitError('SOURCE_TOO_LARGE', `${length} bytes at once do not fit in memory`, {
        source: this.name,
        remedy: 'Use a machine with more memory',
        cause: error,
      });
    }
  }
}
