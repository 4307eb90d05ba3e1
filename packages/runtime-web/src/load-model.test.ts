// Models over HTTP ranges and from blobs, on the wasm backend, which Node has: what is read, what progress says, what damaged and
// missing files give, and that 'auto' goes on without WebGPU and says so.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createModel, createReferenceBackend, createWasmBackend } from '@duobit/core';
import { createMemorySink, DuobitError } from '@duobit/format';
import { makeTinyModel, writeModel } from '@duobit/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from './load-model.ts';

const source = makeTinyModel({ seed: 7, linear: 'w11', embedding: 'int8' });
const TOKENS = [256, 72, 105];
let bytes: Uint8Array<ArrayBuffer>;
let server: Server;
let origin: string;

beforeAll(async () => {
  const sink = createMemorySink();
  await writeModel(source, sink);
  bytes = sink.bytes();
  server = createServer((request, response) => {
    const body = bytes.slice();
    if (request.url === '/damaged.duo') body[body.length - 20_000]! ^= 1;
    else if (request.url !== '/model.duo') {
      response.writeHead(404).end();
      return;
    }
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
    const end = Math.min(Number(last), body.length - 1);
    response.writeHead(206, {
      etag: '"1"',
      'content-range': `bytes ${first}-${end}/${body.length}`,
      'content-length': end - Number(first) + 1,
    });
    response.end(body.subarray(Number(first), end + 1));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

async function expectedLogits(): Promise<Float32Array> {
  const model = await createModel(source, await createWasmBackend(), { contextLength: 32 });
  const logits = await model.forward(TOKENS);
  await model.dispose();
  return logits;
}

const codeOf = async (act: Promise<unknown>): Promise<string> => {
  const error = await act.catch((thrown: unknown) => thrown);
  return error instanceof DuobitError ? error.code : String(error);
};

describe('loadModel', () => {
  it('reads a URL by ranges, tells progress and says that it does without WebGPU', async () => {
    const progress: number[] = [];
    const notices: string[] = [];
    const model = await loadModel(`${origin}/model.duo`, {
      contextLength: 32,
      threads: 1,
      onProgress: ({ bytes: read, totalBytes }) => {
        expect(totalBytes).toBe(bytes.length);
        progress.push(read);
      },
      onNotice: (line) => notices.push(line),
    });
    expect(model.backendName).toBe('wasm');
    expect(notices).toEqual([expect.stringMatching(/^note: WebGPU is not available, using wasm \(.+\)$/)]);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBeGreaterThan(bytes.length / 2);
    expect(await model.forward(TOKENS)).toEqual(await expectedLogits());
    await model.dispose();
    expect(await codeOf(model.forward(TOKENS))).toBe('MODEL_DISPOSED');
  });

  it('reads a blob, and takes an open backend, which stays open', async () => {
    const backend = createReferenceBackend();
    const model = await loadModel(new Blob([bytes]), { backend, contextLength: 32 });
    expect(model.backendName).toBe('reference');
    expect(model.tokenizer.hasChatTemplate).toBe(true);
    expect(await model.forward(TOKENS)).toHaveLength(260);
    await model.dispose();
    const again = await loadModel(new Blob([bytes]), { backend, contextLength: 32 });
    await again.dispose();
  });

  it('refuses a damaged chunk, a missing file and a text, each by its code', async () => {
    const load = (name: string) => loadModel(`${origin}/${name}`, { backend: 'wasm', threads: 1 });
    expect(await codeOf(load('damaged.duo'))).toBe('CHUNK_HASH');
    expect(await codeOf(load('none.duo'))).toBe('SOURCE_MISSING');
    expect(await codeOf(loadModel(new Blob(['not a model, whatever its name says'.repeat(20)])))).not.toMatch(
      /^Error/,
    );
    expect(await codeOf(loadModel(new Blob([bytes]), { backend: 'webgpu' }))).toBe('BACKEND_UNSUPPORTED');
  });

  it('stops when asked to', async () => {
    const controller = new AbortController();
    const loading = loadModel(`${origin}/model.duo`, {
      backend: 'wasm',
      threads: 1,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    expect(await codeOf(loading)).toBe('ABORTED');
  });
});
