// Files: sources and sinks, failures on the way, and a file past 4 GiB.
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeSpec, makeWeights, writeSample } from '../test/sample.ts';
import { writeSparseModel } from '../test/sparse.ts';
import {
  type ByteSink,
  createContainerWriter,
  createMemorySink,
  decodeTensor,
  openContainer,
  validateContainer,
} from './index.ts';
import { createFileSink, createFileSource } from './node.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-format-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const SPEC = makeSpec();
const WEIGHTS = makeWeights(SPEC, 1);

async function writeContainer(sink: ByteSink): Promise<void> {
  const writer = await createContainerWriter(SPEC, sink);
  for (const name of writer.order) await writer.writeTensor(name, WEIGHTS.get(name)!);
  await writer.finish();
}

/** The one overload of FileHandle.write that the sink uses. */
interface WritesBytes {
  write(bytes: Uint8Array, from: number, length: number, position: number): Promise<{ bytesWritten: number }>;
}

describe('file sinks', () => {
  it('write what a memory sink holds, over an old file, and leave nothing else', async () => {
    const path = join(folder, 'model.duo');
    await writeFile(path, 'old');
    await writeContainer(await createFileSink(path));
    expect(new Uint8Array(await readFile(path))).toEqual((await writeSample(SPEC)).bytes);
    expect(await readdir(folder)).toEqual(['model.duo']);
    const source = await createFileSource(path);
    expect(await validateContainer(source)).toMatchObject({ ok: true });
    await source.close();
  });

  it('show nothing before finish', async () => {
    const path = join(folder, 'model.duo');
    const sink = await createFileSink(path);
    await sink.write(0, new Uint8Array(10));
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    await sink.abort();
    await sink.abort();
    expect(await readdir(folder)).toEqual([]);
    await expect(sink.finish()).rejects.toMatchObject({ code: 'SINK_STATE' });
    await expect(sink.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'SINK_STATE' });
  });

  it.each([1, 3, 5, 8, 11])(
    'a full disk at write %i keeps the old file and leaves no other',
    async (failing) => {
      const path = join(folder, 'model.duo');
      await writeFile(path, 'old');
      const sink = await createFileSink(path);
      const probe = await open(path);
      const prototype: WritesBytes = Object.getPrototypeOf(probe);
      await probe.close();
      const { write } = prototype;
      let calls = 0;
      const spy = vi.spyOn(prototype, 'write').mockImplementation(function (this: WritesBytes, ...args) {
        calls += 1;
        if (calls >= failing) return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
        return Reflect.apply(write, this, args);
      });
      await expect(writeContainer(sink)).rejects.toMatchObject({ code: 'SINK_FULL', source: path });
      expect(calls).toBe(failing);
      spy.mockRestore();
      expect(await readFile(path, 'utf8')).toBe('old');
      expect(await readdir(folder)).toEqual(['model.duo']);
    },
  );

  it('keep a link, and refuse folders and missing places', async () => {
    const path = join(folder, 'model.duo');
    await writeFile(path, 'old');
    await symlink(path, join(folder, 'link.duo'));
    await writeContainer(await createFileSink(join(folder, 'link.duo')));
    expect((await readFile(path)).length).toBeGreaterThan(10_000);
    expect(await readdir(folder)).toEqual(['link.duo', 'model.duo']);
    await mkdir(join(folder, 'sub'));
    await expect(createFileSink(join(folder, 'sub'))).rejects.toMatchObject({ code: 'SINK_NOT_A_FILE' });
    await expect(createFileSink(join(folder, 'no', 'x'))).rejects.toMatchObject({
      code: 'SINK_FOLDER_MISSING',
    });
    await expect(createFileSink(join(path, 'x'))).rejects.toMatchObject({ code: 'SINK_FOLDER_MISSING' });
    // Not only when all is written.
    for (const none of ['', `${join(folder, 'new')}/`]) {
      await expect(createFileSink(none)).rejects.toMatchObject({ code: 'SINK_NOT_A_FILE' });
    }
  });
});

describe('the writer over any sink', () => {
  /** Fails at one call, and notes how it ends. */
  function createFailingSink(failAt: 'write' | 'finish'): { sink: ByteSink; aborts: () => number } {
    const memory = createMemorySink('failing');
    let aborts = 0;
    const fail = () => Promise.reject(new Error('broken'));
    return {
      aborts: () => aborts,
      sink: {
        ...memory,
        write: failAt === 'write' ? fail : memory.write,
        finish: failAt === 'finish' ? fail : memory.finish,
        async abort() {
          aborts += 1;
        },
      },
    };
  }

  it.each(['write', 'finish'] as const)(
    'aborts once when %s fails, and then refuses to go on',
    async (failAt) => {
      const { sink, aborts } = createFailingSink(failAt);
      await expect(writeContainer(sink)).rejects.toThrow('broken');
      expect(aborts()).toBe(1);
    },
  );

  it('refuses a wrong order, wrong planes, too few tensors and overlapping calls', async () => {
    const begin = () => createContainerWriter(SPEC, createMemorySink());
    const first = (await begin()).order[0]!;
    const planes = WEIGHTS.get(first)!;
    const attempts: [string, (writer: Awaited<ReturnType<typeof begin>>) => Promise<unknown>][] = [
      ['WRITER_ORDER', (writer) => writer.writeTensor(writer.order[1]!, WEIGHTS.get(writer.order[1]!)!)],
      ['PLANE_ROLES', (writer) => writer.writeTensor(first, { codes: planes.codes! })],
      ['PLANE_ROLES', (writer) => writer.writeTensor(first, { ...planes, mu: new Uint8Array(4) })],
      ['PLANE_LENGTH', (writer) => writer.writeTensor(first, { ...planes, scale: new Uint8Array(4) })],
      [
        'CODE_RANGE',
        (writer) => writer.writeTensor(first, { ...planes, codes: planes.codes!.slice().fill(0x80) }),
      ],
      ['WRITER_INCOMPLETE', (writer) => writer.finish()],
    ];
    for (const [code, attempt] of attempts) {
      const writer = await begin();
      await expect(attempt(writer)).rejects.toMatchObject({ code });
      await expect(writer.writeTensor(first, planes)).rejects.toMatchObject({ code: 'WRITER_STATE' });
    }
    const writer = await begin();
    const running = writer.writeTensor(first, planes);
    await expect(writer.finish()).rejects.toMatchObject({ code: 'WRITER_STATE' });
    await running;
    await writer.abort();
  });
});

describe('file sources', () => {
  it('name what is wrong with a path', async () => {
    await writeFile(join(folder, 'empty'), '');
    const codes: [string, string][] = [
      ['absent', 'SOURCE_MISSING'],
      ['.', 'SOURCE_IS_DIRECTORY'],
      ['empty', 'SOURCE_EMPTY'],
    ];
    for (const [name, code] of codes) {
      await expect(createFileSource(join(folder, name))).rejects.toMatchObject({
        code,
        source: join(folder, name),
      });
    }
    await expect(createFileSource('/dev/null')).rejects.toMatchObject({ code: 'SOURCE_NOT_A_FILE' });
  });

  it('read what is there, refuse what is not, and notice a file that shrinks', async () => {
    const path = join(folder, 'data');
    await writeFile(
      path,
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    const source = await createFileSource(path);
    const bytes = await source.read(90, 10);
    expect([...bytes]).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
    expect(bytes.buffer.byteLength).toBe(10);
    expect(await source.read(100, 0)).toEqual(new Uint8Array(0));
    for (const [offset, length] of [
      [91, 10],
      [-1, 1],
      [0, 2 ** 53],
      [0.5, 1],
      [Number.NaN, 1],
    ] as const) {
      await expect(source.read(offset, length)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' });
    }
    await writeFile(path, 'short');
    await expect(source.read(50, 10)).rejects.toMatchObject({ code: 'SOURCE_TRUNCATED' });
    await source.close();
    await source.close();
    await expect(source.read(0, 1)).rejects.toMatchObject({ code: 'SOURCE_CLOSED' });
  });
});

describe('a file past 4 GiB', () => {
  it('opens, and its last tensor reads right', async () => {
    const path = join(folder, 'sparse.duo');
    const { fileLength, lastValues } = await writeSparseModel(path, { gibibytes: 6 });
    expect((await stat(path)).size).toBe(fileLength);
    expect(fileLength).toBeGreaterThan(6 * 2 ** 30);

    const container = await openContainer(await createFileSource(path));
    expect(container.manifest.segments.at(-1)!.offset).toBeGreaterThan(6 * 2 ** 30);
    expect(decodeTensor(await container.readTensor('model.norm.weight'))).toEqual(lastValues);
    const down = decodeTensor(await container.readTensor('model.layers.0.mlp.down_proj.weight'));
    expect(down.every((value) => value === 0)).toBe(true);
    await container.close();
    const source = await createFileSource(path);
    expect(await validateContainer(source, { deep: false })).toMatchObject({ ok: true });
    await source.close();
  });
});
