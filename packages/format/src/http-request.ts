// One HTTP range request: what is asked, what a right answer looks like, and how its body is read without trusting
// the server. RFC 9110, sections 14 (ranges) and 15.3.7 (206). http-source.ts repeats and pins.
import { DuobitError } from './errors.ts';
import { describeHubStatus } from './hub-status.ts';
import type { OnBytes } from './source.ts';

/** The one overload of `fetch` that is used. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface HttpClient {
  readonly url: string;
  /** The URL without query and credentials, which may be secret. */
  readonly name: string;
  readonly fetch: Fetch;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends a request that delivers no byte for so long. */
  readonly timeoutMs: number;
}

/** Bytes `first` to `last`, both included, of a file whose size may be known from earlier answers. */
export interface RangeRequest {
  readonly first: number;
  readonly last: number;
  readonly size: number | null;
}

/** What the head of a 206 answer says. */
export interface RangeHead {
  readonly first: number;
  readonly last: number;
  /** Length of the whole file. */
  readonly total: number;
  readonly etag: string | null;
  readonly lastModified: string | null;
}

/**
 * What ends a source's requests: the caller's signal, or closing. Any number of requests listen at once, which
 * an AbortSignal takes for a leak.
 */
export class Stopper {
  #reason: DuobitError | null = null;
  readonly #listeners = new Set<() => void>();

  /** Calls all listeners; only the first reason counts. */
  stop(reason: DuobitError): void {
    if (this.#reason) return;
    this.#reason = reason;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Listens until the returned function is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @throws the reason, once stopped */
  check(): void {
    if (this.#reason) throw this.#reason;
  }
}

/** A failure that another attempt may cure. */
export class TransientFailure extends Error {
  readonly code: string;
  readonly remedy: string;
  /** What the server asks to wait, in milliseconds; null when it says nothing. */
  readonly retryAfterMs: number | null;

  constructor(code: string, message: string, remedy: string, retryAfterMs: number | null, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.remedy = remedy;
    this.retryAfterMs = retryAfterMs;
  }
}

const REMEDY_SERVER = 'Report it to whoever runs the server, or download the file and open the copy';
export const REMEDY_CONNECTION =
  "Check the address and the connection; in a browser, also that the server's CORS headers allow this page";

/**
 * Requests a range, has `accept` judge the head of the answer (it throws, or says how many bytes the
 * body must have), and passes the body on piece by piece, never more than that. While it waits for `onBytes` the server may be silent.
 * @throws DuobitError `HTTP_STATUS`, `HTTP_RANGE_REFUSED`, `HTTP_ENCODING`, `HTTP_CONTENT_RANGE`, `HTTP_OVERLONG`,
 *   `HTTP_CHANGED`, `HTTP_UNAUTHORIZED`, `HTTP_FORBIDDEN`, `HUB_GATED`, `HUB_NOT_FOUND`, `SOURCE_MISSING`, `SOURCE_EMPTY`, what `accept` and `onBytes` throw, and the reason of `stopper`
 * @throws TransientFailure on network errors, 429, 5xx and short bodies
 */
export async function requestRange(
  client: HttpClient,
  range: RangeRequest,
  stopper: Stopper,
  accept: (head: RangeHead) => number,
  onBytes: OnBytes,
): Promise<void> {
  const { first, last } = range;
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  stopper.check();
  const unlisten = stopper.listen(stop);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stalled = false;
  const touch = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      stalled = true;
      stop();
    }, client.timeoutMs);
  };
  /** Awaits one step of the network, and tells why it failed. */
  const step = async <T>(pending: Promise<T>): Promise<T> => {
    try {
      return await pending;
    } catch (error) {
      stopper.check();
      // What a `fetch` of the caller's refuses is no failure of the network.
      if (error instanceof DuobitError) throw error;
      const message = stalled ? `no byte came for ${client.timeoutMs} ms` : explain(error);
      throw new TransientFailure('HTTP_NETWORK', message, REMEDY_CONNECTION, null, error);
    }
  };
  try {
    touch();
    const response = await step(
      client.fetch(client.url, {
        // A range makes fetch itself add `Accept-Encoding: identity`.
        headers: { ...client.headers, Range: `bytes=${first}-${last}` },
        signal: controller.signal,
        redirect: 'follow',
        cache: 'no-store',
      }),
    );
    touch();
    const expected = accept(readHead(client, response, range));
    let received = 0;
    for (const reader = response.body?.getReader(); reader; ) {
      const { done, value } = await step(reader.read());
      if (done) break;
      if (value.length > 0) touch();
      if (value.length > expected - received) {
        const message = `bytes ${first} to ${last} were asked for, but the body has more than ${expected} bytes`;
        throw refuse(client, 'HTTP_OVERLONG', message, REMEDY_SERVER);
      }
      received += value.length;
      const taking = onBytes(value);
      if (!taking) continue;
      clearTimeout(timer);
      await taking;
      touch();
    }
    if (received < expected) {
      const message = `bytes ${first} to ${last} were asked for, but the body ended after ${received} of ${expected} bytes`;
      throw new TransientFailure('HTTP_TRUNCATED', message, REMEDY_SERVER, null);
    }
  } finally {
    clearTimeout(timer);
    unlisten();
    // Frees the connection of an answer that was not read to its end; nothing happens after the end.
    stop();
  }
}

function refuse(client: HttpClient, code: string, message: string, remedy: string): DuobitError {
  return new DuobitError(code, message, { source: client.name, remedy });
}

/** `fetch failed` alone helps nobody: the reason is in the cause. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function readHead(client: HttpClient, response: Response, { first, last, size }: RangeRequest): RangeHead {
  const { status, headers } = response;
  if (status === 416 && size !== null) {
    const message = `the file had ${size} bytes, but the server has no bytes ${first} to ${last} any more (status 416)`;
    throw refuse(client, 'HTTP_CHANGED', message, 'Open the file again');
  }
  if (status === 416 && headers.get('Content-Range')?.trim() === 'bytes */0') {
    throw refuse(client, 'SOURCE_EMPTY', 'the file is empty', 'Upload the file again');
  }
  if (status === 200) {
    const message = `bytes ${first} to ${last} were asked for, but the server sends the whole file (status 200)`;
    const remedy =
      'Serve the file from a server that answers range requests with status 206, or download it first';
    throw refuse(client, 'HTTP_RANGE_REFUSED', message, remedy);
  }
  if (status !== 206) throw statusFailure(client, response);
  const encoding = headers.get('Content-Encoding')?.trim() ?? '';
  if (encoding !== '' && encoding.toLowerCase() !== 'identity') {
    const message = `the server sends the range with Content-Encoding ${encoding.slice(0, 40)}, although identity was asked for`;
    throw refuse(client, 'HTTP_ENCODING', message, 'Turn off compression for .duo files on the server');
  }
  const range = headers.get('Content-Range')?.trim() ?? null;
  const parts = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/i.exec(range ?? '');
  const [from = -1, to = -1, whole = -1] = parts ? parts.slice(1).map(Number) : [];
  if (!parts || !Number.isSafeInteger(whole) || from !== first || to !== Math.min(last, whole - 1)) {
    const said = range === null ? 'has no Content-Range' : `says Content-Range "${range.slice(0, 80)}"`;
    const remedy =
      range === null
        ? 'Make the server send Content-Range and, for other origins, list Content-Range and ETag in Access-Control-Expose-Headers'
        : REMEDY_SERVER;
    const message = `bytes ${first} to ${last} were asked for, but the answer ${said}`;
    throw refuse(client, 'HTTP_CONTENT_RANGE', message, remedy);
  }
  return {
    first,
    last: to,
    total: whole,
    etag: headers.get('ETag'),
    lastModified: headers.get('Last-Modified'),
  };
}

/** Why an answer that is not the wanted one is none, and whether another attempt may help. */
export function statusFailure(client: HttpClient, { status, headers }: Response): Error {
  const hub = describeHubStatus(status, headers);
  if (hub) return refuse(client, hub.code, hub.message, hub.remedy);
  const message = `the server answered with status ${status}`;
  if (status === 429 || status >= 500) {
    const remedy = 'Try again later';
    return new TransientFailure('HTTP_STATUS', message, remedy, parseRetryAfter(headers.get('Retry-After')));
  }
  if (status === 404 || status === 410) {
    return refuse(client, 'SOURCE_MISSING', `${message}: there is no such file`, 'Check the address');
  }
  return refuse(client, 'HTTP_STATUS', message, REMEDY_SERVER);
}

/** Seconds or a date, RFC 9110, section 10.2.3; in milliseconds from now. */
function parseRetryAfter(text: string | null): number | null {
  if (text === null) return null;
  if (/^\s*\d{1,9}\s*$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now());
}
