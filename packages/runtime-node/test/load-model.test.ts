// A .duo file from disk to tokens: written by the container writer, loaded and run on both CPU backends.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createModel, createReferenceBackend, type Model } from '@duobit/core';
import { DuobitError, splitContainer } from '@duobit/format';
import { createFileSink, createFileSource } from '@duobit/format/node';
import { makeTinyModel, writeModel } from '@duobit/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BACKEND_NAMES, createBackend, cudaSupport, loadModel, nativeSupport } from '../src/index.ts';
import { findWebGpu } from './webgpu/swiftshader.ts';

const support = nativeSupport();
const { available } = support;
const hasGpu = cudaSupport().available;
/** What 'auto' takes on this machine. */
const FASTEST = hasGpu
  ? 'cuda'
  : support.available && support.instructionSets.some((name) => name !== 'scalar')
    ? 'native'
    : 'wasm';
const withoutWebGpu = await findWebGpu();
const PRESENT = BACKEND_NAMES.filter(
  (name) => ({ native: available, cuda: hasGpu, webgpu: withoutWebGpu === null })[name as string] ?? true,
);

const source = makeTinyModel({ seed: 7, linear: 'w11', embedding: 'int8' });

async function generate(model: Model, prompt: string): Promise<number[]> {
  const tokens: number[] = [];
  for await (const event of model.generate(prompt, { maxTokens: 8, ignoreEos: true }))
    if (event.kind === 'token') tokens.push(event.token);
  return tokens;
}

async function errorOf(act: () => Promise<unknown>): Promise<DuobitError> {
  try {
    await act();
  } catch (error) {
    if (error instanceof DuobitError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-runtime-'));
  path = join(folder, 'tiny.duo');
  await writeModel(source, await createFileSink(path));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('loadModel', () => {
  it.each(PRESENT)(
    'runs a .duo file on %s',
    async (backend) => {
      const model = await loadModel(path, { backend, contextLength: 32 });
      expect(model.backendName).toBe(backend === 'auto' ? FASTEST : backend);
      expect(model.tokenizer.hasChatTemplate).toBe(true);
      expect(await generate(model, 'Hello')).toHaveLength(8);
      await model.dispose();
      expect((await errorOf(() => model.forward([1]))).code).toBe('MODEL_DISPOSED');
    },
    300_000,
  );

  it('gives from the file what the tensors give in memory', async () => {
    const memory = await createModel(source, createReferenceBackend(), { contextLength: 32 });
    const model = await loadModel(path, { backend: 'reference', contextLength: 32 });
    const tokens = [256, 72, 105];
    expect(await model.forward(tokens, { logits: 'all' })).toEqual(
      await memory.forward(tokens, { logits: 'all' }),
    );
    expect(await generate(model, 'Hello')).toEqual(await generate(memory, 'Hello'));
    await model.dispose();
  });

  it('opens the data files of a split model beside it, and says which one is gone', async () => {
    const header = join(folder, 'split.duo');
    const file = await createFileSource(path);
    await splitContainer(file, (name) => createFileSink(name === null ? header : join(folder, name)), {
      maxDataFileBytes: 65_536,
      dataFileName: (index) => `split-${index}.duodata`,
    });
    await file.close();
    const whole = await loadModel(path, { backend: 'reference', contextLength: 32 });
    const split = await loadModel(header, { backend: 'reference', contextLength: 32 });
    expect(await split.forward([256, 72, 105])).toEqual(await whole.forward([256, 72, 105]));
    await split.dispose();
    await whole.dispose();
    await rm(join(folder, 'split-1.duodata'));
    const gone = await errorOf(() => loadModel(header, { backend: 'reference' }));
    expect(gone.code).toBe('DATA_FILE_MISSING');
    expect(gone.describe()).toContain('split-1.duodata');
  });

  it('passes options on and keeps a given backend open', async () => {
    const backend = await createBackend('reference');
    const quantized = await loadModel(path, { backend, contextLength: 16 });
    const unquantized = await loadModel(path, { backend, contextLength: 16, activations: 'f16' });
    expect(quantized.contextLength).toBe(16);
    expect(await quantized.forward([256, 1])).not.toEqual(await unquantized.forward([256, 1]));
    await quantized.dispose();
    expect(await unquantized.forward([256, 1])).toHaveLength(260);
    await unquantized.dispose();
  });

  it.skipIf(hasGpu)("tells the caller's handler what the backend tells", async () => {
    const setting = process.env.DUOBIT_NATIVE;
    process.env.DUOBIT_NATIVE = join(folder, 'none.node');
    const lines: string[] = [];
    try {
      const model = await loadModel(path, { contextLength: 16, onNotice: (line) => lines.push(line) });
      expect(model.backendName).toBe('wasm');
      await model.dispose();
    } finally {
      if (setting === undefined) delete process.env.DUOBIT_NATIVE;
      else process.env.DUOBIT_NATIVE = setting;
    }
    expect(lines).toEqual([expect.stringContaining('using wasm')]);
  });

  it('reports a missing file, a folder, garbage and a cut file', async () => {
    expect((await errorOf(() => loadModel(join(folder, 'none.duo')))).code).toBe('SOURCE_MISSING');
    expect((await errorOf(() => loadModel(folder))).code).toBe('SOURCE_IS_DIRECTORY');
    const garbage = join(folder, 'garbage.duo');
    await writeFile(garbage, 'not a container, whatever its name says'.repeat(10));
    expect((await errorOf(() => loadModel(garbage))).describe()).toContain('garbage.duo');
    const cut = join(folder, 'cut.duo');
    await writeFile(cut, (await readFile(path)).subarray(0, 20_000));
    expect((await errorOf(() => loadModel(cut))).remedy).toBeTruthy();
  });
});

describe('createBackend', () => {
  it('refuses names and thread counts it does not know', async () => {
    const name = JSON.parse('"tpu"');
    expect((await errorOf(() => createBackend(name))).code).toBe('BACKEND_UNKNOWN');
    for (const threads of [0, 1.5])
      expect((await errorOf(() => createBackend('wasm', { threads }))).code).toBe('BACKEND_OPTION');
    expect((await createBackend('wasm', { threads: 1 })).threads).toBe(1);
  });
});
