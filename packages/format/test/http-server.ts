// A web server on the loopback interface that serves a byte source by ranges, counts what it sends, and can be told
// to misbehave.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ByteSource, createMemorySource } from '@duobit/format';
import { afterEach } from 'vitest';

export interface TestRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly headers: IncomingMessage['headers'];
}

/** Handles a request its own way and returns true, or returns false for the right answer. Counts from 0. */
export type Misbehaviour = (response: ServerResponse, count: number, request: TestRequest) => boolean;

export interface TestServer {
  readonly url: string;
  /** All requests so far, in order of arrival. */
  readonly requests: readonly TestRequest[];
  /** Bytes of bodies of right answers. */
  readonly bytesSent: () => number;
  close(): Promise<void>;
}

/** `main` is served at every path, but at those of `beside` what it names; null is not there. */
export async function serveSource(
  main: ByteSource,
  misbehave?: Misbehaviour,
  beside: Readonly<Record<string, ByteSource | null>> = {},
): Promise<TestServer> {
  const requests: TestRequest[] = [];
  let bytesSent = 0;
  const server = createServer((request, response) => {
    const { range } = request.headers;
    const facts = { path: request.url ?? '', range, headers: request.headers };
    requests.push(facts);
    if (misbehave?.(response, requests.length - 1, facts)) return;
    const source = beside[facts.path] === undefined ? main : beside[facts.path];
    if (!source) {
      response.writeHead(404).end('not here');
      return;
    }
    const [first, last] = parseRange(range, source.size);
    if (first > last) {
      response.writeHead(416, { 'Content-Range': `bytes */${source.size}` }).end();
      return;
    }
    source
      .read(first, last - first + 1)
      .then((bytes) => {
        bytesSent += bytes.length;
        response.writeHead(206, rangeHeaders(first, last, source.size)).end(bytes);
      })
      .catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/model.duo`,
    requests,
    bytesSent: () => bytesSent,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      for (const source of [main, ...Object.values(beside)]) await source?.close();
    },
  };
}

/** Headers of a right answer. */
export function rangeHeaders(
  first: number,
  last: number,
  size: number,
  etag = '"v1"',
): Record<string, string> {
  return {
    'Content-Range': `bytes ${first}-${last}/${size}`,
    'Content-Length': String(last - first + 1),
    'Last-Modified': 'Sat, 01 Nov 2025 00:00:00 GMT',
    ...(etag === '' ? {} : { ETag: etag }),
  };
}

function parseRange(range: string | undefined, size: number): [number, number] {
  const parts = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
  if (!parts) throw new Error(`the source sent the range ${range}`);
  return [Number(parts[1]), Math.min(Number(parts[2]), size - 1)];
}

/** Bytes that the servers of tests serve. */
export const BYTES = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) % 251);

/** Starts servers for a test file, and closes them after each test. */
export function useServers(): (misbehave?: Misbehaviour, bytes?: Uint8Array) => Promise<TestServer> {
  const servers: TestServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });
  return async (misbehave, bytes = BYTES) => {
    const server = await serveSource(createMemorySource(bytes), misbehave);
    servers.push(server);
    return server;
  };
}

/** Misbehaves on the request of this number only; the first request, which opens the source, has number 0. */
export function at(number: number, act: (response: ServerResponse) => unknown): Misbehaviour {
  return (response, count) => {
    if (count !== number) return false;
    act(response);
    return true;
  };
}

export function always(act: (response: ServerResponse) => unknown): Misbehaviour {
  return (response) => {
    act(response);
    return true;
  };
}
