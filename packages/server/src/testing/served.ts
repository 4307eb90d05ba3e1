// Servers for tests, stopped at the end of each; what tests ask them.
import { fileURLToPath } from 'node:url';
import { type ChatModel, createModel, createWasmBackend, type Model } from '@duobit/core';
import { type ModelSource, openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createServer, type DuobitServer, type ServerOptions } from '@duobit/server';
import { makeTinyModel } from '@duobit/testkit';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest';

const FILE = fileURLToPath(new URL('../../../../fixtures/embedded/tinystories-656k.duo', import.meta.url));
/** The embedded model has none: it goes on with what the user begins. */
const TEMPLATE = '{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}';

/** The model in this repository, for four texts at a time, until the tests of a file have ended. */
export function useEmbedded(): () => Model {
  return useModel(async () => openContainer(await createFileSource(FILE)), TEMPLATE);
}

/** A model of noise that can write any text: the embedded one has no braces. */
export function useNoise(): () => Model {
  return useModel(async () => makeTinyModel({ architecture: { contextLength: 2048 } }));
}

function useModel(open: () => Promise<ModelSource>, chatTemplate?: string): () => Model {
  let model: Model;
  const closers: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    const source = await open();
    closers.push(() => source.close());
    const backend = await createWasmBackend();
    closers.push(() => backend.dispose());
    model = await createModel(source, backend, { sequences: 4, chatTemplate });
    closers.push(() => model.dispose());
  });
  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  });
  return () => model;
}

export interface Served {
  readonly server: DuobitServer;
  readonly url: string;
  readonly port: number;
  readonly client: OpenAI;
  /** A figure of /metrics, summed over its labels, or over those that have this text. */
  figure(name: string, label?: string): Promise<number>;
  /** POST of a body to chat completions. */
  post(body: unknown, init?: RequestInit): Promise<Response>;
}

const running: DuobitServer[] = [];
afterEach(async () => {
  for (const server of running.splice(0)) await server.close();
});

export async function serve(model: ChatModel, options: ServerOptions = {}): Promise<Served> {
  const server = createServer(model, options);
  running.push(server);
  const url = await server.listen();
  const headers = { authorization: `Bearer ${options.apiKey ?? 'none'}`, 'content-type': 'application/json' };
  return {
    server,
    url,
    port: Number(new URL(url).port),
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: options.apiKey ?? 'none', maxRetries: 0 }),
    async figure(name, label = '') {
      const response = await fetch(`${url}/metrics`, { headers });
      const lines = (await response.text()).split('\n');
      const found = lines.filter((line) => new RegExp(`^${name}[ {]`).test(line) && line.includes(label));
      return found.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    },
    post: (body, init = {}) =>
      fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers,
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...init,
      }),
  };
}

export const USER = [{ role: 'user', content: 'Once upon a time' }] as const;
export const ask = { model: 'any', messages: [...USER] };

/** Waits until it holds: for what another process, or the other end of a connection, does in its own time. */
export function eventually(check: () => unknown): Promise<unknown> {
  return vi.waitFor(check, { timeout: 30_000, interval: 10 });
}

/** Every text piece of a stream of chat chunks, and the rest of it. */
export async function collect(
  stream: AsyncIterable<OpenAI.ChatCompletionChunk>,
): Promise<{ text: string; chunks: OpenAI.ChatCompletionChunk[] }> {
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { text: chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''), chunks };
}

export async function expectError(
  response: Response,
  status: number,
  error: Readonly<Record<string, unknown>>,
): Promise<void> {
  const body = await response.json();
  expect({ status: response.status, ...body.error }).toMatchObject({ status, ...error });
  expect(Object.keys(body.error)).toEqual(['message', 'type', 'param', 'code']);
}
