// More requests than a model answers at a time, answers that take too long or fail, and the end of a server that is at work.
import { DuobitError } from '@duobit/format';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { playModel, untilAborted } from './testing/played-model.ts';
import { openRaw, rawHead } from './testing/raw-connection.ts';
import { ask, collect, eventually, expectError, serve } from './testing/served.ts';

const errorOf = (act: Promise<unknown>): Promise<unknown> =>
  act.then(
    () => null,
    (error: unknown) => error,
  );

describe('the queue', () => {
  it('answers in order, and refuses who would be one too many', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const model = playModel({ sequences: 2, pace: () => gate });
    const { post, figure } = await serve(model, { queue: 3 });
    const answers = [];
    for (let i = 0; i < 5; i++) {
      answers.push(post({ ...ask, seed: i, stream: i % 2 === 0 }));
      const waiting = Math.max(0, i - 1);
      await eventually(async () => expect(await figure('duobit_waiting')).toBe(waiting));
      await eventually(async () => expect(await figure('duobit_running')).toBe(Math.min(2, i + 1)));
    }
    const refused = [await post(ask), await post({ ...ask, stream: true })];
    for (const response of refused) {
      expect(response.headers.get('retry-after')).toBe('1');
      await expectError(response, 503, { type: 'server_error', code: 'MODEL_BUSY' });
    }
    release();
    for (const answer of answers) expect(await (await answer).text()).toContain('word');
    expect(model.calls.map(({ options }) => options.seed)).toEqual([0, 1, 2, 3, 4]);
    expect(await figure('duobit_requests_total', 'status="200"')).toBeGreaterThanOrEqual(5);
    expect(await figure('duobit_requests_total', 'status="503"')).toBe(2);
  });

  it('forgets who leaves', async () => {
    const model = playModel({ pace: untilAborted });
    const { post, figure } = await serve(model);
    const leaving = [new AbortController(), new AbortController()];
    const answers = leaving.map(({ signal }) => errorOf(post({ ...ask, stream: true }, { signal })));
    await eventually(async () => expect(await figure('duobit_waiting')).toBe(1));
    leaving[1]!.abort();
    await eventually(async () => expect(await figure('duobit_waiting')).toBe(0));
    leaving[0]!.abort();
    await eventually(async () => expect(await figure('duobit_running')).toBe(0));
    await Promise.all(answers);
    expect(model.calls).toHaveLength(1);
    await eventually(async () => expect(await figure('duobit_requests_total', 'status="499"')).toBe(2));
  });
});

describe('answers', () => {
  it('that take too long end with an error', async () => {
    const { post, figure } = await serve(playModel({ pace: untilAborted }), { timeoutSeconds: 0.2 });
    const error = { type: 'server_error', code: 'SERVER_TIMEOUT' };
    await expectError(await post(ask), 503, error);
    await expectError(await post({ ...ask, stream: true }), 503, error);
    // Asking again would take as long: OpenAI's client does not, though it does after other errors of servers.
    const model = playModel({ pace: untilAborted });
    const { url } = await serve(model, { timeoutSeconds: 0.2 });
    const patient = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 2 });
    expect(await errorOf(patient.chat.completions.create(ask))).toMatchObject({ status: 503, ...error });
    expect(model.calls).toHaveLength(1);
    const { headers } = await post(ask);
    expect([headers.get('retry-after'), headers.get('x-should-retry')]).toEqual([null, 'false']);

    let tokens = 0;
    const pace = (signal: AbortSignal | undefined) =>
      tokens++ < 2 ? Promise.resolve() : untilAborted(signal);
    const begun = await serve(playModel({ pace }), { timeoutSeconds: 0.2 });
    const thrown = await errorOf(
      begun.client.chat.completions.create({ ...ask, stream: true }).then(collect),
    );
    expect(thrown).toMatchObject(error);
    expect(await figure('duobit_running')).toBe(0);
  });

  it('that fail say so, and leave the details to the log', async () => {
    const lines: string[] = [];
    const log = { level: 'info', stream: { write: (line: string) => void lines.push(line) } } as const;
    const { client } = await serve(playModel({ failure: new Error('at /home/me') }), { log });
    const failed = {
      type: 'server_error',
      code: 'INTERNAL',
      message: expect.not.stringContaining('/home/me'),
    };
    for (const stream of [false, true]) {
      const thrown = await errorOf(
        client.chat.completions.create({ ...ask, stream }).then((answer) => collect(answer as never)),
      );
      expect(thrown).toMatchObject(failed);
    }
    expect(lines.filter((line) => line.includes('at /home/me'))).toHaveLength(2);

    const lost = new DuobitError('BACKEND_LOST', 'the device is gone', { source: '/home/me/model.duo' });
    const { post } = await serve(playModel({ failure: lost }));
    await expectError(await post(ask), 500, { code: 'BACKEND_LOST', message: 'the device is gone' });
  });
});

describe('the log', () => {
  it('has one line, with the address, for a client who has left before anything was written', async () => {
    const lines: string[] = [];
    const log = { level: 'info', stream: { write: (line: string) => void lines.push(line) } } as const;
    const { post, server, figure } = await serve(playModel({ pace: untilAborted, sequences: 2 }), { log });
    for (const stream of [false, true]) {
      const controller = new AbortController();
      const left = post({ ...ask, stream }, { signal: controller.signal }).catch(() => null);
      await eventually(async () => expect(await figure('duobit_running')).toBe(1));
      controller.abort();
      await left;
      await eventually(async () => expect(await figure('duobit_running')).toBe(0));
    }
    await server.close();
    const told = lines.map((line) => JSON.parse(line)).filter(({ path }) => path !== '/metrics');
    expect(told.filter(({ level }) => level > 30)).toEqual([]);
    const left = told.filter(({ status }) => status === 499);
    expect(left.map(({ remote }) => remote)).toEqual(['127.0.0.1', '127.0.0.1']);
  });

  it('has a line for each request, with no text of it unless that is asked for', async () => {
    const logged = async (prompts: boolean) => {
      const lines: string[] = [];
      const log = {
        level: 'info',
        prompts,
        stream: { write: (line: string) => void lines.push(line) },
      } as const;
      const { post, server } = await serve(playModel(), { log });
      await (await post({ ...ask, stream: true, max_tokens: 2 })).text();
      await server.close();
      return lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request');
    };
    const [line, ...others] = await logged(false);
    expect(others).toEqual([]);
    expect(line).toMatchObject({
      method: 'POST',
      path: '/v1/chat/completions',
      status: 200,
      prompt_tokens: 5,
      reused_tokens: 2,
      generated_tokens: 2,
      ended: null,
    });
    expect(line.first_token_ms).toEqual(expect.any(Number));
    expect(JSON.stringify(line)).not.toContain('Once upon');
    expect(JSON.stringify(await logged(true))).toContain('Once upon');
  });
});

describe('closing', () => {
  it('waits as long as it is told to, and refuses what was only half sent', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { server, post, port, figure } = await serve(playModel({ pace: () => gate, sequences: 2 }));
    const running = post(ask);
    const body = JSON.stringify(ask);
    const { socket, received, closed } = openRaw(port);
    socket.write(`${rawHead(`Content-Length: ${body.length}`, 'Expect: 100-continue')}{`);
    await eventually(() => expect(received()).toContain('100 Continue'));
    await eventually(async () => expect(await figure('duobit_running')).toBe(1));
    const ended = server.close({ graceSeconds: Number.POSITIVE_INFINITY });
    socket.write(body.slice(1));
    expect(await closed).toMatch(/ 503 [\s\S]*SERVER_CLOSING/);
    release();
    expect((await running).status).toBe(200);
    await ended;
  });

  it('completes what is being written and refuses what waits', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { server, client, post, url, figure } = await serve(playModel({ pace: () => gate }));
    const running = client.chat.completions.create({ ...ask, stream: true }).then(collect);
    await eventually(async () => expect(await figure('duobit_running')).toBe(1));
    const waiting = [post(ask), post({ ...ask, stream: true })];
    await eventually(async () => expect(await figure('duobit_waiting')).toBe(2));
    const closed = server.close({ graceSeconds: 600 });
    for (const answer of waiting) await expectError(await answer, 503, { code: 'SERVER_CLOSING' });
    await eventually(() => expect(fetch(`${url}/health`)).rejects.toThrow());
    release();
    const { chunks } = await running;
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe('length');
    await closed;
  });

  it('ends what is not complete in time with an error', async () => {
    let tokens = 0;
    const pace = (signal: AbortSignal | undefined) =>
      tokens++ < 2 ? Promise.resolve() : untilAborted(signal);
    const { server, client, post, figure } = await serve(playModel({ sequences: 2, pace }));
    const streamed = errorOf(client.chat.completions.create({ ...ask, stream: true }).then(collect));
    await eventually(() => expect(tokens).toBe(3));
    const whole = post(ask);
    await eventually(async () => expect(await figure('duobit_running')).toBe(2));
    await server.close({ graceSeconds: 0.05 });
    expect(await streamed).toMatchObject({ code: 'SERVER_CLOSING' });
    await expectError(await whole, 503, { code: 'SERVER_CLOSING' });
  });

  it('refuses who asks again on an open connection', async () => {
    const origin = 'https://page.example';
    const { server, port, post, figure } = await serve(playModel({ pace: untilAborted }), { cors: [origin] });
    const running = post(ask);
    await eventually(async () => expect(await figure('duobit_running')).toBe(1));
    // Half a request keeps a connection from being idle.
    const { socket, received, closed } = openRaw(port);
    socket.write('GET /ready HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\n');
    await eventually(() => expect(received()).toContain('200 OK'));
    const ended = server.close({ graceSeconds: 600 });
    socket.write(`Host: x\r\nOrigin: ${origin}\r\n\r\n`);
    const answers = await closed;
    expect(answers).toMatch(/200 OK[\s\S]*503 Service Unavailable[\s\S]*SERVER_CLOSING/);
    // Without it a page could not read why.
    expect(answers).toContain(`access-control-allow-origin: ${origin}`);
    await server.close();
    await ended;
    await expectError(await running, 503, { code: 'SERVER_CLOSING' });
  });
});
