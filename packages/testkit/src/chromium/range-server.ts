// A server of files by byte ranges that counts what it sends and fails when told to: slow, far away, silent, cut off, gone.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { ISOLATION_HEADERS, type PageServer, startServer } from './server.ts';

export interface ServedFile {
  readonly body: Uint8Array | string;
  /** Default: by the name's ending. */
  readonly type?: string;
  /** null: the file has none. Default: from its length. */
  readonly etag?: string | null;
}

export interface ServedRequest {
  /** Without a slash first and without query: the file's name. */
  readonly path: string;
  /** The `Range` header. */
  readonly range: string | null;
  /** Bytes of the body that were written so far. */
  sent: number;
  /** Whether more of the answer may come. */
  open: boolean;
}

/** May be changed at any time; running answers notice. */
export interface Faults {
  /** Every connection is reset. */
  offline: boolean;
  /** Requests are answered with this status. */
  status: number | null;
  /** Before the first byte of an answer. */
  latencyMs: number;
  /** Of each answer; null: no limit. */
  bytesPerSecond: number | null;
  /** Once so many more bytes of ranges were sent, the server is `offline`. */
  cutAfter: number | null;
  /** Once so many more bytes of ranges were sent, nothing more comes, and connections stay open. */
  stallAfter: number | null;
}

export interface RangeServer extends PageServer {
  /** By name, without a slash first; may be changed at any time. '' and 'index.html' are separate. */
  readonly files: Map<string, ServedFile>;
  readonly faults: Faults;
  /** All so far, in order. */
  readonly requests: ServedRequest[];
  /** Requests whose answers have not ended: while there are some, they share what `faults` allow. */
  openRequests(): readonly ServedRequest[];
  /** Bytes of bodies sent so far for a file, or for all ranges. */
  bytesSent(path?: string): number;
  /** Forgets what was counted and ends all faults. */
  reset(): void;
}

export interface RangeServerOptions {
  readonly files?: Readonly<Record<string, ServedFile | Uint8Array | string>>;
  /** Cross-origin isolation, which threads need. Default true. */
  readonly isolated?: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  json: 'application/json',
  wasm: 'application/wasm',
};
/** Pages of other origins may read all of it. */
const OPEN_HEADERS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Expose-Headers': 'Content-Range, ETag, Last-Modified',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Cache-Control': 'no-store',
};
const PIECE = 16 << 10;

const noFaults = (): Faults => ({
  offline: false,
  status: null,
  latencyMs: 0,
  bytesPerSecond: null,
  cutAfter: null,
  stallAfter: null,
});

/** Serves on a free port of 127.0.0.1. Ranges are answered with 206, requests without one with the whole file. */
export async function startRangeServer({
  files: given = {},
  isolated = true,
}: RangeServerOptions = {}): Promise<RangeServer> {
  const files = new Map(
    Object.entries(given).map(([name, file]): [string, ServedFile] => [
      name,
      typeof file === 'string' || file instanceof Uint8Array ? { body: file } : file,
    ]),
  );
  const faults = noFaults();
  const requests: ServedRequest[] = [];
  const common = { ...OPEN_HEADERS, ...(isolated ? ISOLATION_HEADERS : {}) };

  /** How many of the next bytes of a range may be sent; counts them. */
  const allow = (wanted: number): number => {
    let allowed = wanted;
    if (faults.cutAfter !== null) {
      allowed = Math.min(allowed, faults.cutAfter);
      faults.cutAfter -= allowed;
      if (faults.cutAfter === 0) faults.offline = true;
    }
    if (faults.stallAfter !== null) {
      allowed = Math.min(allowed, faults.stallAfter);
      faults.stallAfter -= allowed;
    }
    return allowed;
  };

  const sendRange = async (body: Uint8Array, response: ServerResponse, entry: ServedRequest) => {
    const closed = new Promise((resolve) => response.once('close', resolve));
    for (let at = 0; at < body.length && !response.destroyed; ) {
      if (faults.offline) {
        response.destroy();
        return;
      }
      const length = allow(Math.min(PIECE, body.length - at));
      if (length === 0) {
        await sleep(10);
        continue;
      }
      const flushed = response.write(body.subarray(at, at + length));
      at += length;
      entry.sent += length;
      if (!flushed) await Promise.race([new Promise((resolve) => response.once('drain', resolve)), closed]);
      if (faults.bytesPerSecond !== null) await sleep((1000 * length) / faults.bytesPerSecond);
    }
    response.end();
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://server').pathname.slice(1));
    const range = request.headers.range ?? null;
    const entry: ServedRequest = { path, range, sent: 0, open: true };
    response.once('close', () => {
      entry.open = false;
    });
    requests.push(entry);
    if (faults.latencyMs > 0) await sleep(faults.latencyMs);
    if (faults.offline) {
      response.destroy();
      return;
    }
    const file = files.get(path);
    if (request.method === 'OPTIONS' || faults.status !== null || !file) {
      response.writeHead(request.method === 'OPTIONS' ? 204 : (faults.status ?? 404), common).end();
      return;
    }
    const body = typeof file.body === 'string' ? new TextEncoder().encode(file.body) : file.body;
    const etag = file.etag === undefined ? `"${body.length}"` : file.etag;
    const headers = {
      ...common,
      'Content-Type': file.type ?? TYPES[path.split('.').at(-1)!] ?? 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      ...(etag === null ? {} : { ETag: etag }),
    };
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
    if (first === undefined) {
      entry.sent = body.length;
      response.writeHead(200, { ...headers, 'Content-Length': body.length }).end(body);
      return;
    }
    const start = Number(first);
    const end = Math.min(last ? Number(last) : Number.POSITIVE_INFINITY, body.length - 1);
    if (start > end) {
      response.writeHead(416, { ...headers, 'Content-Range': `bytes */${body.length}` }).end();
      return;
    }
    response.writeHead(206, {
      ...headers,
      'Content-Range': `bytes ${start}-${end}/${body.length}`,
      'Content-Length': end - start + 1,
    });
    await sendRange(body.subarray(start, end + 1), response, entry);
  };

  const server = await startServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  return {
    ...server,
    files,
    faults,
    requests,
    openRequests: () => requests.filter(({ open }) => open),
    bytesSent: (path) =>
      requests
        .filter((entry) => (path === undefined ? entry.range !== null : entry.path === path))
        .reduce((sum, { sent }) => sum + sent, 0),
    reset() {
      requests.length = 0;
      Object.assign(faults, noFaults());
    },
  };
}
