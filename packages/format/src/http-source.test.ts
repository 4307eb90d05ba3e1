// HTTP sources against a real server on the loopback interface: what is asked for, what is refused, what a change is.
import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { always, at, BYTES, type Misbehaviour, rangeHeaders, useServers } from '../test/http-server.ts';
import { createHttpSource, type HttpRead, type HttpSourceOptions } from './index.ts';

const SIZE = BYTES.length;
const range = (offset: number, length: number) => BYTES.slice(offset, offset + length);
/** No test should wait: the delays are tested with a clock of their own. */
const FAST: HttpSourceOptions = { retryDelay: 1 };
const serve = useServers();

describe('a server that does its part', () => {
  it('is asked for exactly the bytes that are read, and for the first 128 once [RMT-1]', async () => {
    const server = await serve();
    const reads: HttpRead[] = [];
    const source = await createHttpSource(`${server.url}?token=secret#part`, {
      headers: { Authorization: 'Bearer x' },
      onRead: (read) => reads.push(read),
    });
    expect(source.size).toBe(SIZE);
    expect(source.name).toBe(server.url);
    expect(await source.read(0, 128)).toEqual(range(0, 128));
    expect(await source.read(5, 20)).toEqual(range(5, 20));
    expect(await source.read(3, 0)).toEqual(new Uint8Array(0));
    expect(server.requests.length).toBe(1);
    expect(await source.read(100, 400)).toEqual(range(100, 400));
    const last = await source.read(SIZE - 1, 1);
    expect(last).toEqual(range(SIZE - 1, 1));
    expect(last.buffer.byteLength).toBe(1);
    const target = new Uint8Array(30);
    await source.readInto!(110, target.subarray(5, 25));
    expect(target.subarray(5, 25)).toEqual(range(110, 20));
    expect([...target.subarray(0, 5), ...target.subarray(25)]).toEqual(new Array(10).fill(0));
    expect(server.requests.map((request) => request.range)).toEqual([
      'bytes=0-127',
      'bytes=128-499',
      'bytes=4999-4999',
      'bytes=128-129',
    ]);
    for (const { headers, path } of server.requests) {
      expect(headers).toMatchObject({ 'accept-encoding': 'identity', authorization: 'Bearer x' });
      expect(path).toBe('/model.duo?token=secret');
    }
    expect(server.bytesSent()).toBe(128 + 372 + 1 + 2);
    expect(reads).toEqual([
      { offset: 0, length: 128, requests: 1 },
      { offset: 128, length: 372, requests: 1 },
      { offset: 4999, length: 1, requests: 1 },
      { offset: 128, length: 2, requests: 1 },
    ]);
    for (const [offset, length] of [
      [SIZE, 1],
      [SIZE - 1, 2],
      [-1, 1],
      [0, 2 ** 53],
    ] as const) {
      await expect(source.read(offset, length)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' });
    }
    expect(server.requests.length).toBe(4);
    await source.close();
  });

  it('may be read by many at once', async () => {
    const server = await serve();
    const source = await createHttpSource(server.url);
    const offsets = Array.from({ length: 40 }, (_, i) => (i * 1234) % (SIZE - 300));
    const results = await Promise.all(offsets.map((offset) => source.read(offset, 300)));
    expect(results).toEqual(offsets.map((offset) => range(offset, 300)));
    await source.close();
  });

  it('may have a file shorter than the first request', async () => {
    const server = await serve(undefined, BYTES.slice(0, 10));
    const source = await createHttpSource(server.url);
    expect(source.size).toBe(10);
    expect(await source.read(4, 6)).toEqual(range(4, 6));
    expect(server.requests.length).toBe(1);
    const empty = await serve(undefined, new Uint8Array(0));
    await expect(createHttpSource(empty.url)).rejects.toMatchObject({
      code: 'SOURCE_EMPTY',
      source: empty.url,
    });
  });

  it('has other files beside it, with the same query and headers [SHD-6]', async () => {
    const server = await serve();
    const headers = { Authorization: 'Bearer x' };
    const source = await createHttpSource(`${server.url.replace('model', 'deep/model')}?token=secret`, {
      headers,
    });
    const beside = await source.openBeside!('model-00001.duodata');
    await source.close();
    expect(await beside.read(200, 10)).toEqual(range(200, 10));
    expect(beside.name).toBe(server.url.replace('model.duo', 'deep/model-00001.duodata'));
    for (const request of server.requests.slice(1)) {
      expect(request.path).toBe('/deep/model-00001.duodata?token=secret');
      expect(request.headers).toMatchObject({ authorization: 'Bearer x' });
    }
    const odd = await beside.openBeside!('a/../b?c');
    expect(server.requests.at(-1)!.path).toBe('/deep/a%2F..%2Fb%3Fc?token=secret');
    await odd.close();
    await beside.close();
  });

  it('may redirect', async () => {
    const server = await serve((response, _count, { path }) => {
      if (path !== '/old.duo') return false;
      response.writeHead(302, { Location: '/model.duo' }).end();
      return true;
    });
    const source = await createHttpSource(server.url.replace('model', 'old'));
    expect(await source.read(200, 50)).toEqual(range(200, 50));
    expect(server.requests.map(({ path, range }) => `${path} ${range}`)).toEqual([
      '/old.duo bytes=0-127',
      '/model.duo bytes=0-127',
      '/old.duo bytes=200-249',
      '/model.duo bytes=200-249',
    ]);
  });
});

describe('refused at once [RMT-3] [RMT-4] [RMT-8]', () => {
  const cases: { name: string; code: string; says: RegExp; act: (response: ServerResponse) => unknown }[] = [
    {
      name: 'the whole file with status 200',
      code: 'HTTP_RANGE_REFUSED',
      says: /status 200/,
      act: (response) => response.writeHead(200, { 'Content-Length': SIZE }).end(BYTES),
    },
    {
      name: 'no Content-Range',
      code: 'HTTP_CONTENT_RANGE',
      says: /no Content-Range/,
      act: (response) => response.writeHead(206).end(BYTES.subarray(0, 128)),
    },
    ...['bytes 1-128/5000', 'bytes 0-126/5000', 'bytes 0-127/*', 'bytes 0-127/9999999999999999', '0-127'].map(
      (wrong) => ({
        name: `Content-Range ${wrong}`,
        code: 'HTTP_CONTENT_RANGE',
        says: /bytes 0 to 127 were asked for/,
        act: (response: ServerResponse) =>
          response.writeHead(206, { 'Content-Range': wrong }).end(BYTES.subarray(0, 128)),
      }),
    ),
    {
      name: 'a compressed range',
      code: 'HTTP_ENCODING',
      says: /gzip/,
      act: (response) => {
        const { 'Content-Length': _, ...headers } = rangeHeaders(0, 127, SIZE);
        response
          .writeHead(206, { ...headers, 'Content-Encoding': 'gzip' })
          .end(gzipSync(BYTES.subarray(0, 128)));
      },
    },
    {
      name: 'status 404',
      code: 'SOURCE_MISSING',
      says: /status 404: there is no such file/,
      act: (response) => response.writeHead(404).end('not here'),
    },
    {
      name: 'status 418',
      code: 'HTTP_STATUS',
      says: /status 418/,
      act: (response) => response.writeHead(418).end(),
    },
    {
      name: 'status 401',
      code: 'HTTP_UNAUTHORIZED',
      says: /status 401/,
      act: (response) => response.writeHead(401).end(),
    },
    {
      name: 'status 403',
      code: 'HTTP_FORBIDDEN',
      says: /status 403/,
      act: (response) => response.writeHead(403).end(),
    },
    {
      name: 'an endless body',
      code: 'HTTP_OVERLONG',
      says: /more than 128 bytes/,
      act: (response) => {
        response.writeHead(206, { 'Content-Range': `bytes 0-127/${SIZE}` });
        const pour = (): void => {
          while (!response.destroyed && response.write(BYTES));
          if (!response.destroyed) response.once('drain', pour);
        };
        pour();
      },
    },
  ];
  it.each(cases)('$name: $code', async ({ code, says, act }) => {
    const server = await serve(always(act));
    await expect(createHttpSource(server.url, FAST)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(says),
      source: server.url,
      remedy: expect.any(String),
    });
    expect(server.requests.length).toBe(1);
  });

  it('the same later in the file', async () => {
    const server = await serve(at(1, (response) => response.writeHead(200).end(BYTES)));
    const source = await createHttpSource(server.url, FAST);
    await expect(source.read(1000, 10)).rejects.toMatchObject({ code: 'HTTP_RANGE_REFUSED' });
    expect(await source.read(1000, 10)).toEqual(range(1000, 10));
  });

  it.each([
    'ftp://host/model.duo',
    'file:///model.duo',
    'model.duo',
    'http://user:s3cret@host/m.duo',
    'http://',
  ])('the address %s', async (url) => {
    const fetch = vi.fn();
    const opening = createHttpSource(url, { fetch });
    await expect(opening).rejects.toMatchObject({ code: 'HTTP_REQUEST' });
    await expect(opening).rejects.not.toMatchObject({ message: expect.stringContaining('s3cret') });
    expect(fetch).not.toHaveBeenCalled();
  });

  it.each<HttpSourceOptions>([
    { headers: { 'bad name': 'x' } },
    { headers: { good: 'line\nbreak' } },
    { retries: Number.NaN },
    { retries: -1 },
    { timeout: 0 },
  ])('the options %o', async (options) => {
    const fetch = vi.fn();
    await expect(createHttpSource('http://localhost/m.duo', { ...options, fetch })).rejects.toMatchObject({
      code: 'HTTP_REQUEST',
    });
    expect(fetch).not.toHaveBeenCalled();
  });
});

describe('a file that changes while it is read [RMT-5]', () => {
  const answer = (headers: Record<string, string>, length = 10) =>
    at(1, (response) => response.writeHead(206, headers).end(BYTES.subarray(0, length)));
  const first = (headers: Record<string, string>) =>
    at(0, (response) => response.writeHead(206, headers).end(BYTES.subarray(0, 128)));
  const both =
    (a: Misbehaviour, b: Misbehaviour): Misbehaviour =>
    (...request) =>
      a(...request) || b(...request);
  const later = 'Sun, 02 Nov 2025 00:00:00 GMT';

  it.each([
    { name: 'another ETag', misbehave: answer(rangeHeaders(1000, 1009, SIZE, '"v2"')), says: '"v1" to "v2"' },
    { name: 'its ETag gone', misbehave: answer(rangeHeaders(1000, 1009, SIZE, '')), says: '"v1" to none' },
    {
      name: 'another length',
      misbehave: answer(rangeHeaders(1000, 1009, SIZE + 1)),
      says: 'length 5000 to 5001',
    },
    {
      name: 'a weak ETag first, another Last-Modified later',
      misbehave: both(
        first(rangeHeaders(0, 127, SIZE, 'W/"v1"')),
        answer({ ...rangeHeaders(1000, 1009, SIZE, 'W/"v1"'), 'Last-Modified': later }),
      ),
      says: 'Last-Modified Sat',
    },
    {
      name: 'no ETag first, another Last-Modified later',
      misbehave: both(
        first(rangeHeaders(0, 127, SIZE, '')),
        answer({ ...rangeHeaders(1000, 1009, SIZE, ''), 'Last-Modified': later }),
      ),
      says: 'Last-Modified Sat',
    },
    {
      name: 'status 416',
      misbehave: at(1, (response) => response.writeHead(416, { 'Content-Range': 'bytes */500' }).end()),
      says: 'status 416',
    },
  ])('$name: HTTP_CHANGED', async ({ misbehave, says }) => {
    const server = await serve(misbehave);
    const source = await createHttpSource(server.url, FAST);
    await expect(source.read(1000, 10)).rejects.toMatchObject({
      code: 'HTTP_CHANGED',
      message: expect.stringContaining(says),
    });
    expect(server.requests.length).toBe(2);
  });

  it('is not seen in another weak ETag with the same Last-Modified and length', async () => {
    const weak = (number: number): Misbehaviour =>
      at(number, (response) => {
        const [from, to] = number === 0 ? [0, 127] : [1000, 1009];
        response
          .writeHead(206, rangeHeaders(from!, to!, SIZE, `W/"v${number}"`))
          .end(BYTES.subarray(from!, to! + 1));
      });
    const server = await serve(both(weak(0), weak(1)));
    const source = await createHttpSource(server.url, FAST);
    expect(await source.read(1000, 10)).toEqual(range(1000, 10));
  });
});
