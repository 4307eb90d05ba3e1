// HTTP sources and servers that fail for a while, or that nobody wants to wait for any longer.
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { always, at, BYTES, rangeHeaders, useServers } from '../test/http-server.ts';
import { createHttpSource, type HttpRead, type HttpSourceOptions } from './index.ts';

const SIZE = BYTES.length;
const range = (offset: number, length: number) => BYTES.slice(offset, offset + length);
/** No test should wait: the delays are tested with a clock of their own. */
const FAST: HttpSourceOptions = { retryDelay: 1 };
const serve = useServers();
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('tried again [RMT-6]', () => {
  it('503 twice, then the bytes; onRead counts the requests', async () => {
    const server = await serve((response, count) => {
      if (count !== 1 && count !== 2) return false;
      response.writeHead(503).end('busy');
      return true;
    });
    const reads: HttpRead[] = [];
    const source = await createHttpSource(server.url, { ...FAST, onRead: (read) => reads.push(read) });
    expect(await source.read(1000, 10)).toEqual(range(1000, 10));
    expect(reads.at(-1)).toEqual({ offset: 1000, length: 10, requests: 3 });
  });

  it('503 for ever ends after the retries, with the last status', async () => {
    const server = await serve(always((response) => response.writeHead(503).end()));
    await expect(createHttpSource(server.url, { ...FAST, retries: 2 })).rejects.toMatchObject({
      code: 'HTTP_STATUS',
      message: 'the server answered with status 503 (3 attempts)',
    });
    expect(server.requests.length).toBe(3);
  });

  it('a connection that is reset, at the head and in the body, going on where it stopped', async () => {
    const server = await serve((response, count) => {
      if (count === 0) response.destroy();
      else if (count === 2) {
        response.writeHead(206, rangeHeaders(1000, 1999, SIZE));
        response.write(BYTES.subarray(1000, 1300), () => response.destroy());
      } else return false;
      return true;
    });
    const source = await createHttpSource(server.url, FAST);
    expect(await source.read(1000, 1000)).toEqual(range(1000, 1000));
    expect(server.requests.map((request) => request.range)).toEqual([
      'bytes=0-127',
      'bytes=0-127',
      'bytes=1000-1999',
      'bytes=1300-1999',
    ]);
  });

  it('a body that ends early: the rest is asked for, and HTTP_TRUNCATED when it never comes', async () => {
    const short = (response: ServerResponse) =>
      response.writeHead(206, { 'Content-Range': `bytes 0-127/${SIZE}` }).end(BYTES.subarray(0, 50));
    const server = await serve(at(0, short));
    const source = await createHttpSource(server.url, FAST);
    expect(await source.read(0, 200)).toEqual(range(0, 200));
    const worse = await serve(always(short));
    await expect(createHttpSource(worse.url, { ...FAST, retries: 1 })).rejects.toMatchObject({
      code: 'HTTP_TRUNCATED',
      message: 'bytes 0 to 127 were asked for, but the body ended after 50 of 128 bytes (2 attempts)',
    });
    expect(worse.requests.length).toBe(2);
  });

  it('a server that nobody answers at: HTTP_NETWORK with the reason', async () => {
    const server = await serve();
    await server.close();
    await expect(createHttpSource(server.url, { ...FAST, retries: 1 })).rejects.toMatchObject({
      code: 'HTTP_NETWORK',
      message: expect.stringMatching(/ECONNREFUSED.*\(2 attempts\)/),
      remedy: expect.stringContaining('connection'),
    });
  });

  it('a server that falls silent, before the head or in the body', async () => {
    for (const silent of [
      () => undefined,
      (response: ServerResponse) => {
        response.writeHead(206, rangeHeaders(0, 127, SIZE));
        response.write(BYTES.subarray(0, 5));
      },
    ]) {
      const server = await serve(always(silent));
      await expect(createHttpSource(server.url, { ...FAST, retries: 1, timeout: 400 })).rejects.toMatchObject(
        {
          code: 'HTTP_NETWORK',
          message: 'no byte came for 400 ms (2 attempts)',
        },
      );
      expect(server.requests.length).toBe(2);
    }
  });

  it('429 with Retry-After 0 at once, whatever the backoff', async () => {
    const server = await serve(at(0, (response) => response.writeHead(429, { 'Retry-After': '0' }).end()));
    const source = await createHttpSource(server.url, { retryDelay: 3_600_000 });
    expect(source.size).toBe(SIZE);
  });

  it('429 with a Retry-After beyond a minute not at all', async () => {
    const server = await serve(
      always((response) => response.writeHead(429, { 'Retry-After': '3600' }).end()),
    );
    await expect(createHttpSource(server.url, FAST)).rejects.toMatchObject({
      code: 'HTTP_STATUS',
      message: 'the server answered with status 429; it asks to wait 3600 s (1 attempt)',
    });
    expect(server.requests.length).toBe(1);
  });
});

describe('waiting', () => {
  const refusal = (headers: Record<string, string> = {}) => new Response(null, { status: 503, headers });
  const answer = () =>
    new Response(BYTES.slice(0, 128), { status: 206, headers: rangeHeaders(0, 127, SIZE) });

  it.each([
    ['seconds', '7'],
    ['a date', 'Sat, 01 Nov 2025 00:00:07 GMT'],
  ])('lasts as long as Retry-After says in %s', async (_, value) => {
    vi.useFakeTimers({ now: Date.UTC(2025, 10, 1) });
    const fetch = vi
      .fn()
      .mockResolvedValueOnce(refusal({ 'Retry-After': value }))
      .mockResolvedValueOnce(answer());
    const opening = createHttpSource('http://localhost/m.duo', { fetch });
    await vi.advanceTimersByTimeAsync(6_990);
    expect(fetch).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(20);
    expect(fetch).toHaveBeenCalledTimes(2);
    expect((await opening).size).toBe(SIZE);
  });

  it('doubles from attempt to attempt, half of it random, up to 8 s', async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const times: number[] = [];
    const start = Date.now();
    const fetch = vi.fn(async () => {
      times.push(Date.now() - start);
      return refusal();
    });
    const opening = createHttpSource('http://localhost/m.duo', { fetch, retries: 7, retryDelay: 1000 });
    const outcome = expect(opening).rejects.toMatchObject({ code: 'HTTP_STATUS' });
    await vi.runAllTimersAsync();
    await outcome;
    const waits = times.slice(1).map((time, i) => time - times[i]!);
    expect(waits).toEqual([750, 1500, 3000, 6000, 6000, 6000, 6000]);
  });
});

describe('stopping', () => {
  it('by the signal ends opening, waiting and reading with ABORTED', async () => {
    const fetch = vi.fn();
    const early = createHttpSource('http://localhost/m.duo', { fetch, signal: AbortSignal.abort() });
    await expect(early).rejects.toMatchObject({ code: 'ABORTED' });
    expect(fetch).not.toHaveBeenCalled();

    const waiting = new AbortController();
    const busy = await serve(
      always((response) => {
        response.writeHead(503).end();
        setImmediate(() => waiting.abort());
      }),
    );
    const opening = createHttpSource(busy.url, { retryDelay: 3_600_000, signal: waiting.signal });
    await expect(opening).rejects.toMatchObject({ code: 'ABORTED' });

    const reading = new AbortController();
    const silent = await serve(at(1, () => setImmediate(() => reading.abort())));
    const source = await createHttpSource(silent.url, { signal: reading.signal });
    await expect(source.read(1000, 10)).rejects.toMatchObject({ code: 'ABORTED', source: silent.url });
    await expect(source.read(1000, 10)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(silent.requests.length).toBe(2);
  });

  it('by close ends running and later reads with SOURCE_CLOSED', async () => {
    const server = await serve(at(1, () => setImmediate(() => source.close())));
    const source = await createHttpSource(server.url, FAST);
    await expect(source.read(1000, 10)).rejects.toMatchObject({ code: 'SOURCE_CLOSED' });
    await expect(source.read(0, 1)).rejects.toMatchObject({ code: 'SOURCE_CLOSED' });
    await source.close();
    expect(server.requests.length).toBe(2);
  });
});
