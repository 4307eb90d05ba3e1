// What clients should not do: the server refuses it, and answers others as before.
import { describe, expect, it } from 'vitest';
import { playModel } from './testing/played-model.ts';
import { openRaw, rawHead } from './testing/raw-connection.ts';
import { ask, eventually, expectError, serve } from './testing/served.ts';

const INVALID = { type: 'invalid_request_error' };

describe('keys', () => {
  it('are asked for by everything but the health of the server', async () => {
    const { client, url, post } = await serve(playModel(), { apiKey: 'right' });
    expect((await client.chat.completions.create(ask)).choices[0]!.message.content).toContain('word');
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Bearer right2', 'Basic right']) {
      const headers = { authorization, 'content-type': 'application/json' };
      const error = { type: 'authentication_error', code: 'invalid_api_key' };
      await expectError(await post(ask, { headers }), 401, error);
      await expectError(await fetch(`${url}/v1/models`, { headers }), 401, error);
      await expectError(await fetch(`${url}/metrics`, { headers }), 401, error);
    }
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect((await fetch(`${url}/ready`)).status).toBe(200);
  });

  it('may not be empty', async () => {
    await expect(() => serve(playModel(), { apiKey: '' })).rejects.toMatchObject({ code: 'SERVER_OPTION' });
  });
});

describe('requests', () => {
  it('that are no JSON, of another type, or go to no route are refused', async () => {
    const { url, post } = await serve(playModel());
    const plain = { headers: { 'content-type': 'text/plain' } };
    await expectError(await post('{"messages": ['), 400, INVALID);
    await expectError(await post('{"__proto__": {"a": 1}, "messages": []}'), 400, INVALID);
    await expectError(await post('['.repeat(200_000)), 400, INVALID);
    await expectError(await post(''), 400, INVALID);
    await expectError(await post('null'), 400, { ...INVALID, code: 'CHAT_REQUEST' });
    await expectError(await post(JSON.stringify(ask), plain), 415, {
      ...INVALID,
      message: expect.stringContaining('application/json'),
    });
    await expectError(await fetch(`${url}/v1/none`), 404, { ...INVALID, code: 'SERVER_NOT_FOUND' });
    await expectError(await fetch(`${url}/v1/models/%`), 400, INVALID);
    await expectError(await fetch(`${url}/v1/models/${'x'.repeat(900)}`), 404, { code: 'model_not_found' });
    expect((await post(ask)).status).toBe(200);
  });

  it('of 100 MB are refused before they are read', async () => {
    const { port, post } = await serve(playModel());
    const announced = openRaw(port);
    announced.socket.write(rawHead('Content-Length: 100000000'));
    expect(await announced.closed).toMatch(/^HTTP\/1.1 413 /);

    const before = process.memoryUsage().arrayBuffers;
    const chunked = openRaw(port);
    chunked.socket.write(rawHead('Transfer-Encoding: chunked'));
    const piece = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let i = 0; i < 1526 && !chunked.socket.destroyed; i++) {
      if (!chunked.socket.write(piece))
        await Promise.race([chunked.closed, new Promise((resolve) => chunked.socket.once('drain', resolve))]);
    }
    // The answer may be lost in the reset of a connection that is still written to.
    expect(await chunked.closed).toMatch(/^(HTTP\/1.1 413 |$)/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20e6);
    expect((await post(ask)).status).toBe(200);
  });

  it('with a flood of headers are refused', async () => {
    const { port, post } = await serve(playModel());
    const flood = openRaw(port);
    flood.socket.write('GET /health HTTP/1.1\r\nHost: x\r\n');
    const line = `X-Header: ${'x'.repeat(1000)}\r\n`;
    for (let i = 0; i < 1000 && !flood.socket.destroyed; i++) flood.socket.write(line);
    expect(await flood.closed).toMatch(/^HTTP\/1.1 431 [\s\S]*"code":"HPE_HEADER_OVERFLOW"/);
    const noise = openRaw(port);
    noise.socket.write('\x16\x03\x01 hello\r\n\r\n');
    expect(await noise.closed).toMatch(/^HTTP\/1.1 400 /);
    expect((await post(ask)).status).toBe(200);
  });

  it('that come too slowly are dropped', async () => {
    const { port, post } = await serve(playModel(), { receiveSeconds: 0.6 });
    const slowHeaders = openRaw(port);
    slowHeaders.socket.write('POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n');
    const slowBody = openRaw(port);
    slowBody.socket.write(`${rawHead('Content-Length: 1000')}{`);
    const silent = openRaw(port);
    for (const { closed } of [slowHeaders, slowBody]) expect(await closed).toMatch(/^HTTP\/1.1 408 /);
    await silent.closed;
    expect((await post(ask)).status).toBe(200);
  });

  it('beyond the number of connections are dropped', async () => {
    const { port } = await serve(playModel(), { maxConnections: 2 });
    const held = [openRaw(port), openRaw(port)];
    for (const { socket, received } of held) {
      socket.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
      await eventually(() => expect(received()).toContain('200 OK'));
    }
    expect(await openRaw(port).closed).toBe('');
    for (const { socket } of held) socket.destroy();
    await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200));
  });
});

describe('readers', () => {
  it('who stall hold no turn, and little memory', async () => {
    // Many times what a system keeps for a connection.
    const model = playModel({ word: 'x'.repeat(100_000), most: 2000 });
    const { port, figure, post } = await serve(model);
    const { socket, closed } = openRaw(port);
    socket.pause();
    const body = JSON.stringify({ ...ask, stream: true });
    socket.write(`${rawHead(`Content-Length: ${body.length}`)}${body}`);
    await eventually(async () => expect(await figure('duobit_requests_total', 'status="499"')).toBe(1));
    expect(await figure('duobit_running')).toBe(0);
    expect(await figure('duobit_answers_total', 'aborted')).toBe(1);
    expect(model.running).toBe(0);
    expect((await post({ ...ask, max_tokens: 1 })).status).toBe(200);
    socket.destroy();
    await closed;
  });
});

describe('pages of other origins', () => {
  it('may call it when they are named', async () => {
    const page = { origin: 'https://page.example', 'access-control-request-method': 'POST' };
    const preflight = async (cors: readonly string[]) => {
      const { url } = await serve(playModel(), { cors, apiKey: 'right' });
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'OPTIONS', headers: page });
      return response.headers.get('access-control-allow-origin');
    };
    expect(await preflight([])).toBe(null);
    expect(await preflight(['https://other.example'])).toBe(null);
    expect(await preflight(['https://other.example', 'https://page.example'])).toBe('https://page.example');
    expect(await preflight(['*'])).toBe('*');
    const { post } = await serve(playModel(), { cors: ['https://page.example'] });
    const headers = { origin: 'https://page.example', 'content-type': 'application/json' };
    const streamed = await post({ ...ask, stream: true }, { headers });
    expect(streamed.headers.get('access-control-allow-origin')).toBe('https://page.example');
    // What tells their clients whether to ask again.
    expect(streamed.headers.get('access-control-expose-headers')).toBe('retry-after, x-should-retry');
    await streamed.text();
  });

  it('are origins', async () => {
    for (const cors of ['page.example', 'localhost:3000', 'https://page.example/', 'https://Page.example'])
      await expect(() => serve(playModel(), { cors: [cors] }), cors).rejects.toMatchObject({
        code: 'SERVER_OPTION',
        where: 'cors',
      });
    for (const cors of ['http://localhost:3000', 'http://[::1]:80', 'app://obsidian.md', 'null'])
      await serve(playModel(), { cors: [cors] });
  });
});
