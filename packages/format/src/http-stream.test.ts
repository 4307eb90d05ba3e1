// Long ranges of HTTP sources, piece by piece: in order, no faster than they are taken, and taken up where they broke off.
import { describe, expect, it } from 'vitest';
import { BYTES, rangeHeaders, useServers } from '../test/http-server.ts';
import { createHttpSource, type HttpSourceOptions, LIMITS } from './index.ts';

const SIZE = BYTES.length;
const FAST: HttpSourceOptions = { retryDelay: 1 };
const URL = 'http://server/model.duo';
const serve = useServers();

/** A server of zeros whose connections break after so many bytes, but for those of short ranges. */
function breakingServer(size: number, most: number) {
  let requests = 0;
  const fetch = async (_: string, { headers }: RequestInit): Promise<Response> => {
    requests++;
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(new Headers(headers).get('Range')!)!;
    const length = Number(last) - Number(first) + 1;
    let sent = 0;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
      if (sent === length) controller.close();
      else if (sent === most) controller.error(new Error('broken'));
      else controller.enqueue(new Uint8Array(Math.min(1 << 20, Math.min(most, length) - sent)));
      sent = Math.min(most, length, sent + (1 << 20));
    };
    // Without a queue of its own, as an error would drop what is in it.
    return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), {
      status: 206,
      headers: { 'Content-Range': `bytes ${first}-${last}/${size}`, ETag: '"1"' },
    });
  };
  return { fetch, count: () => requests };
}

describe('HttpSource.stream', () => {
  it('gives all bytes in order by one request', async () => {
    const server = await serve(() => false);
    const source = await createHttpSource(server.url, FAST);
    const pieces: Uint8Array[] = [];
    await source.stream!(100, SIZE - 100, (bytes) => void pieces.push(bytes.slice()));
    expect(Buffer.concat(pieces)).toEqual(Buffer.from(BYTES.subarray(100)));
    expect(server.requests.map(({ range }) => range)).toEqual(['bytes=0-127', `bytes=100-${SIZE - 1}`]);
    await expect(source.stream!(1, SIZE, () => {})).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' });
  });

  it('waits for who takes the bytes, however long: only a silent server is given up', async () => {
    const { fetch } = breakingServer(SIZE, SIZE);
    const source = await createHttpSource(URL, { ...FAST, fetch, timeout: 100, retries: 0 });
    let taken = 0;
    let isTaking = false;
    await source.stream!(0, SIZE, async (bytes) => {
      expect(isTaking).toBe(false);
      isTaking = true;
      if (taken === 0) await new Promise((resolve) => setTimeout(resolve, 300));
      taken += bytes.length;
      isTaking = false;
    });
    expect(taken).toBe(SIZE);
  });

  it('ends with what the taker throws, and asks for no more', async () => {
    const server = await serve(() => false);
    const source = await createHttpSource(server.url, FAST);
    const enough = new Error('enough');
    const reading = source.stream!(0, SIZE, () => Promise.reject(enough));
    await expect(reading).rejects.toBe(enough);
    expect(server.requests).toHaveLength(2);
    expect(await source.read(SIZE - 5, 5)).toEqual(BYTES.slice(SIZE - 5));
  });

  it('goes on at the byte where a connection broke', async () => {
    const server = await serve((response, count) => {
      if (count !== 1) return false;
      response.writeHead(206, rangeHeaders(1000, 1999, SIZE));
      response.write(BYTES.subarray(1000, 1300), () => response.destroy());
      return true;
    });
    const source = await createHttpSource(server.url, FAST);
    const pieces: Uint8Array[] = [];
    await source.stream!(1000, 1000, (bytes) => void pieces.push(bytes.slice()));
    expect(Buffer.concat(pieces)).toEqual(Buffer.from(BYTES.subarray(1000, 2000)));
    expect(server.requests[2]?.range).toBe('bytes=1300-1999');
  });

  it('has retries for each whole chunk anew, but not for less', async () => {
    const size = 6 * LIMITS.chunkBytes;
    const read = async (most: number) => {
      const { fetch, count } = breakingServer(size, most);
      const source = await createHttpSource(URL, { ...FAST, retries: 1, fetch });
      let taken = 0;
      const reading = source.stream!(128, size - 128, (bytes) => void (taken += bytes.length));
      return {
        error: await reading.then(
          () => null,
          (error) => error.code,
        ),
        taken,
        requests: count(),
      };
    };
    expect(await read(LIMITS.chunkBytes)).toMatchObject({ error: null, taken: size - 128, requests: 7 });
    expect(await read(LIMITS.chunkBytes - 1)).toMatchObject({ error: 'HTTP_NETWORK', requests: 3 });
  });
});
