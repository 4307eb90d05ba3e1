// What the tests of downloads share: a folder, a local hub, and a model of several chunks, whole and in several files.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuobitError, type ModelSource, splitContainer, type TensorData } from '@duobit/format';
import { createFileSink, createFileSource } from '@duobit/format/node';
import { makeTinyModel, writeModel } from '@duobit/testkit';
import { type HubServer, type HubServerOptions, sha256Hex, startHubServer } from '@duobit/testkit/hub';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { Environment } from '../../src/index.ts';

export interface Setup {
  readonly hub: HubServer;
  /** Of this test alone. */
  readonly cache: string;
  /** With the hub and the cache. */
  readonly env: Environment;
  /** The container in one file: five chunks of the embedding, and more. */
  readonly whole: Uint8Array;
  /** The same model as header file and data files, by name. */
  readonly split: Readonly<Record<string, Uint8Array>>;
  path(name: string): string;
}

/** Files are made once for the test file; hub and cache are new for every test. */
export function useSetup(options: HubServerOptions = {}): Setup {
  let folder = '';
  let count = 0;
  const setup = { hub: null as never as HubServer, cache: '', env: {} as Environment } as {
    -readonly [K in keyof Setup]: Setup[K];
  };
  setup.path = (name) => join(folder, name);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'duobit-hub-'));
    const path = join(folder, 'model.duo');
    await writeModel(makeLargeModel(), await createFileSink(path));
    setup.whole = await readFile(path);
    const file = await createFileSource(path);
    const names = ['parted.duo'];
    await splitContainer(
      file,
      (name) => {
        if (name !== null) names.push(name);
        return createFileSink(join(folder, name ?? 'parted.duo'));
      },
      { maxDataFileBytes: 21 << 20, dataFileName: (index) => `parted-${index}.duodata` },
    );
    await file.close();
    const entries = names.map(async (name) => [name, await readFile(join(folder, name))] as const);
    setup.split = Object.fromEntries(await Promise.all(entries));
  });
  beforeEach(async () => {
    count += 1;
    setup.hub = await startHubServer(options);
    setup.cache = join(folder, `cache ${count}`);
    setup.env = { HOME: folder, DUOBIT_CACHE: setup.cache, HF_ENDPOINT: setup.hub.url };
  });
  afterEach(() => setup.hub.close());
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return setup;
}

/** A tiny model with an embedding of 20 MiB, of values that take no time to make. */
function makeLargeModel(): ModelSource {
  const tiny = makeTinyModel({ linear: 'w11' });
  const rows = 81_920;
  const values = Float32Array.from({ length: rows * tiny.architecture.hiddenSize }, (_, i) => Math.sin(i));
  const isLarge = (name: string) => name === 'model.embed_tokens.weight';
  const infoOf = (name: string): TensorData['info'] => {
    const info = tiny.tensorInfo(name);
    return isLarge(name) ? { ...info, shape: [rows, tiny.architecture.hiddenSize] } : info;
  };
  return {
    ...tiny,
    architecture: { ...tiny.architecture, vocabularySize: rows },
    tensorInfo: infoOf,
    readTensor: async (name) =>
      isLarge(name)
        ? { info: infoOf(name), planes: { dense: new Uint8Array(values.buffer) } }
        : tiny.readTensor(name),
  };
}

/** Megabytes are too many to be compared one by one. */
export function expectSame(found: Uint8Array, wanted: Uint8Array): void {
  expect({ length: found.length, sha256: sha256Hex(found) }).toEqual({
    length: wanted.length,
    sha256: sha256Hex(wanted),
  });
}

export async function errorOf(pending: Promise<unknown>): Promise<DuobitError> {
  try {
    await pending;
  } catch (error) {
    if (error instanceof DuobitError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}
