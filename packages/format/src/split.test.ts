// A model in several files: split, read, validated, merged, and every way in which its files can be wrong.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { forgeHeader, type MutableContent, rehashHeader } from '../test/forge.ts';
import { makeSpec, type Sample, writeSample } from '../test/sample.ts';
import {
  type ByteSink,
  type ByteSource,
  createMemorySink,
  createMemorySource,
  DuobitError,
  mergeContainer,
  openContainer,
  splitContainer,
  validateContainer,
} from './index.ts';
import { createFileSink, createFileSource } from './node.ts';

const dataFileName = (index: number, count: number) => `part-${index}-of-${count}.data`;

/** Splits in memory: header file and data files by name. */
async function split(bytes: Uint8Array, maxDataFileBytes: number) {
  const sinks = new Map<string | null, ReturnType<typeof createMemorySink>>();
  const openSink = async (name: string | null) => {
    const sink = createMemorySink(name ?? 'model.duo');
    sinks.set(name, sink);
    return sink;
  };
  await splitContainer(createMemorySource(bytes, 'whole.duo'), openSink, { maxDataFileBytes, dataFileName });
  const header = sinks.get(null)!.bytes();
  sinks.delete(null);
  const files = new Map([...sinks].map(([name, sink]) => [name!, sink.bytes()]));
  return { header, files };
}

function opener(files: ReadonlyMap<string, Uint8Array>) {
  return async (name: string): Promise<ByteSource> => {
    const bytes = files.get(name);
    if (!bytes) throw new DuobitError('SOURCE_MISSING', 'there is no such file', { source: name });
    return createMemorySource(bytes, name);
  };
}

let sample: Sample;
beforeEach(async () => {
  sample ??= await writeSample();
});

describe('a container in several files', () => {
  it('names the feature of data files beside that of rotated inputs, and merges to the same bytes', async () => {
    const tensors = makeSpec().tensors.map((tensor) =>
      tensor.activation ? { ...tensor, inputRotation: 'hadamard' as const } : tensor,
    );
    const { bytes } = await writeSample(makeSpec({ tensors }));
    const { header, files } = await split(bytes, 20_000);
    const features = (file: Uint8Array) => new DataView(file.buffer).getBigUint64(40, true);
    expect([features(bytes), features(header)]).toEqual([2n, 3n]);
    const openDataFile = opener(files);
    const report = await validateContainer(createMemorySource(header), { openDataFile, canonical: true });
    expect(report.problems).toEqual([]);
    const sink = createMemorySink();
    await mergeContainer(createMemorySource(header), sink, { openDataFile });
    expect(sink.bytes()).toEqual(bytes);
  });

  it.each([14_000, 20_000, 40_000, 10_000_000])(
    'in files of %i bytes reads and merges to the same bytes',
    async (most) => {
      const { header, files } = await split(sample.bytes, most);
      expect(files.size).toBeGreaterThan(0);
      for (const bytes of files.values()) expect(bytes.length).toBeLessThanOrEqual(most);
      const openDataFile = opener(files);
      const report = await validateContainer(createMemorySource(header), { openDataFile, canonical: true });
      expect([report.problems, report.notes]).toEqual([[], []]);
      const { dataFiles, segments, fileLength } = report.manifest!;
      expect(fileLength).toBe(header.length);
      expect(dataFiles.map(({ name }) => name)).toEqual([...files.keys()]);
      expect(segments.map(({ file }) => file)).toEqual([...segments.map(({ file }) => file)].sort());
      expect(segments.filter(({ file }) => file === 0).map(({ name }) => name)).toEqual(['assets']);

      const container = await openContainer(createMemorySource(header), { openDataFile });
      for (const [name, planes] of sample.weights) {
        expect((await container.readTensor(name)).planes).toEqual(planes);
      }
      expect((await container.readAsset('chat-template'))!.length).toBe(14);
      await container.close();

      const merged = createMemorySink();
      await mergeContainer(createMemorySource(header), merged, { openDataFile });
      expect(merged.bytes()).toEqual(sample.bytes);
      // Again from the split one, in another size.
      const again = createMemorySink();
      const { header: other, files: others } = await split(merged.bytes(), 16_000);
      await mergeContainer(createMemorySource(other), again, { openDataFile: opener(others) });
      expect(again.bytes()).toEqual(sample.bytes);
    },
  );

  it('may have no segment in the header file', async () => {
    const { bytes } = await writeSample(makeSpec({ assets: [] }));
    const { header, files } = await split(bytes, 40_000);
    expect(header.length % 16_384).toBe(0);
    const openDataFile = opener(files);
    const report = await validateContainer(createMemorySource(header), { openDataFile, canonical: true });
    expect(report.problems).toEqual([]);
    const merged = createMemorySink();
    await mergeContainer(createMemorySource(header), merged, { openDataFile });
    expect(merged.bytes()).toEqual(bytes);
  });

  it('opens a data file when its first byte is wanted, once', async () => {
    const { header, files } = await split(sample.bytes, 14_000);
    const opened: string[] = [];
    const closed: string[] = [];
    const openDataFile = async (name: string): Promise<ByteSource> => {
      opened.push(name);
      const source = await opener(files)(name);
      return { ...source, close: async () => void closed.push(name) };
    };
    const container = await openContainer(createMemorySource(header), { openDataFile });
    expect(opened).toEqual([]);
    const name = 'model.layers.1.self_attn.q_proj.weight';
    await Promise.all([container.readTensor(name), container.readTensor(name)]);
    const { segment } = container.tensorInfo(name).planes[0]!;
    const { file } = container.manifest.segments[segment]!;
    expect(opened).toEqual([container.manifest.dataFiles[file - 1]!.name]);
    await container.close();
    expect(closed).toEqual(opened);
    await expect(container.readTensor('lm_head.weight')).rejects.toMatchObject({ code: 'SOURCE_CLOSED' });
  });

  it('DATA_FILE_MISSING, DATA_FILE_LENGTH: at the first read, and by validation; later reads may succeed', async () => {
    const { header, files } = await split(sample.bytes, 14_000);
    const [name, bytes] = [...files].at(-1)!;
    const tensor = 'lm_head.weight';
    for (const [code, wrong] of [
      ['DATA_FILE_MISSING', null],
      ['DATA_FILE_LENGTH', bytes.slice(1)],
      ['DATA_FILE_LENGTH', new Uint8Array(bytes.length + 1)],
    ] as const) {
      const damaged = new Map(files);
      if (wrong) damaged.set(name, wrong);
      else damaged.delete(name);
      const openDataFile = opener(damaged);
      const report = await validateContainer(createMemorySource(header), { openDataFile });
      expect(report.problems.map((problem) => problem.code)).toEqual([code]);
      const container = await openContainer(createMemorySource(header), { openDataFile });
      await expect(container.readTensor(tensor)).rejects.toMatchObject({ code });
      await container.readTensor('model.embed_tokens.weight');
      damaged.set(name, bytes);
      await container.readTensor(tensor);
    }
    const nowhere = await openContainer(createMemorySource(header));
    await expect(nowhere.readTensor(tensor)).rejects.toMatchObject({ code: 'DATA_FILE_MISSING' });
  });

  it('CHUNK_HASH, PADDING_NONZERO, DATA_FILE_HASH: wrong bytes of a data file', async () => {
    const { header, files } = await split(sample.bytes, 40_000);
    const { manifest } = await openContainer(createMemorySource(header));
    const codes = async (change: (bytes: Uint8Array) => void) => {
      const damaged = new Map([...files].map(([name, bytes]) => [name, bytes.slice()]));
      change(damaged.get('part-1-of-2.data')!);
      const options = { openDataFile: opener(damaged) };
      return (await validateContainer(createMemorySource(header), options)).problems.map(({ code }) => code);
    };
    expect(files.size).toBe(2);
    expect(await codes((bytes) => void (bytes[0]! ^= 1))).toEqual(['CHUNK_HASH', 'DATA_FILE_HASH']);
    const first = manifest.segments.find(({ file }) => file === 1)!;
    expect(await codes((bytes) => void (bytes[first.length] = 1))).toEqual([
      'PADDING_NONZERO',
      'DATA_FILE_HASH',
    ]);
    const forged = await forgeHeader(header, (content) => (content.dataFiles[0]!.sha256 = '00'.repeat(32)));
    const report = await validateContainer(createMemorySource(forged), { openDataFile: opener(files) });
    expect(report.problems.map(({ code, where }) => [code, where])).toEqual([
      ['DATA_FILE_HASH', 'data file part-1-of-2.data'],
    ]);
  });

  it.each<[string, string, (content: MutableContent) => void]>([
    ['DATA_FILE_NAME', 'a folder', (c) => (c.dataFiles[0]!.name = 'a/b')],
    ['DATA_FILE_NAME', 'the folder above', (c) => (c.dataFiles[0]!.name = '..')],
    ['DATA_FILE_NAME', 'a hidden file', (c) => (c.dataFiles[0]!.name = '.x')],
    ['DATA_FILE_NAME', 'a backslash', (c) => (c.dataFiles[0]!.name = 'a\\b')],
    ['DATA_FILE_NAME', 'no name', (c) => (c.dataFiles[0]!.name = '')],
    ['DATA_FILE_NAME', 'a long name', (c) => (c.dataFiles[0]!.name = 'x'.repeat(256))],
    ['DATA_FILE_NAME', 'a name twice', (c) => (c.dataFiles[1]!.name = c.dataFiles[0]!.name.toUpperCase())],
    ['DATA_FILE_HASH', 'half a hash', (c) => (c.dataFiles[0]!.sha256 = 'ab'.repeat(16))],
    ['DATA_FILE_LAYOUT', 'another length', (c) => (c.dataFiles[1]!.length += 1)],
    ['DATA_FILE_LAYOUT', 'a file that is not listed', (c) => (c.segments.at(-1)!.file = 3)],
    ['DATA_FILE_LAYOUT', 'an unused file', (c) => (c.dataFiles[2] = { ...c.dataFiles[0]!, name: 'unused' })],
    ['DATA_FILE_LAYOUT', 'files in another order', (c) => (c.segments.at(-1)!.file = 0)],
    ['DATA_FILE_LAYOUT', 'the first file left out', (c) => (c.segments[1]!.file = 2)],
    ['SEGMENT_LAYOUT', 'a segment off its boundary', (c) => (c.segments.at(-1)!.offset += 256)],
    ['OFFSET_UNSAFE', 'an endless file', (c) => (c.dataFiles[0]!.length = 2 ** 60)],
    [
      'LIMIT_EXCEEDED',
      'many files',
      (c) => (c.dataFiles = Array.from({ length: 257 }, (_, i) => ({ ...c.dataFiles[0]!, name: `f${i}` }))),
    ],
  ])('%s: %s', async (code, _what, change) => {
    const { header, files } = await split(sample.bytes, 40_000);
    const forged = await forgeHeader(header, (content) => void change(content));
    const openDataFile = opener(files);
    const report = await validateContainer(createMemorySource(forged), { openDataFile });
    expect(report.problems.map((problem) => problem.code)).toContain(code);
    await expect(openContainer(createMemorySource(forged), { openDataFile })).rejects.toThrow(DuobitError);
  });

  it('FEATURE_MISMATCH: data files without their feature', async () => {
    const { header, files } = await split(sample.bytes, 40_000);
    new DataView(header.buffer).setBigUint64(40, 0n, true);
    await rehashHeader(header);
    const report = await validateContainer(createMemorySource(header), { openDataFile: opener(files) });
    expect(report.problems.map(({ code }) => code)).toEqual(['FEATURE_MISMATCH']);
  });
});

describe('splitting refuses', () => {
  it('DATA_FILE_TOO_SMALL: a segment that fits in no file, with the size that would do', async () => {
    const largest = Math.max(
      ...(await openContainer(createMemorySource(sample.bytes))).manifest.segments.map(
        ({ length }) => length,
      ),
    );
    await expect(split(sample.bytes, largest - 1)).rejects.toMatchObject({
      code: 'DATA_FILE_TOO_SMALL',
      message: expect.stringContaining(String(largest)),
    });
    await split(sample.bytes, largest);
    await expect(split(sample.bytes, Number.NaN)).rejects.toMatchObject({ code: 'DATA_FILE_TOO_SMALL' });
  });

  it('CANONICAL_HEADER: what it could not restore', async () => {
    const newer = sample.bytes.slice();
    new DataView(newer.buffer).setUint16(18, 1, true);
    await expect(split(await rehashHeader(newer), 40_000)).rejects.toMatchObject({
      code: 'CANONICAL_HEADER',
    });
  });

  it('damaged data and names that are none, and then no file is there', async () => {
    const { manifest } = await openContainer(createMemorySource(sample.bytes));
    const source = sample.bytes.slice();
    source[manifest.segments.at(-1)!.offset]! ^= 1;
    const gap = sample.bytes.slice();
    gap[manifest.segments[2]!.offset - 1] = 1;
    for (const [bytes, name, code] of [
      [source, 'a', 'CHUNK_HASH'],
      [gap, 'a', 'PADDING_NONZERO'],
      [sample.bytes, 'a/b', 'DATA_FILE_NAME'],
    ] as const) {
      const aborted: (string | null)[] = [];
      const openSink = async (file: string | null): Promise<ByteSink> => ({
        ...createMemorySink(),
        finish: async () => expect.fail('a file was finished'),
        abort: async () => void aborted.push(file),
      });
      const options = { maxDataFileBytes: 10_000_000, dataFileName: () => name };
      await expect(splitContainer(createMemorySource(bytes), openSink, options)).rejects.toMatchObject({
        code,
      });
      expect(aborted).toEqual(code === 'DATA_FILE_NAME' ? [] : [null, 'a']);
    }
  });
});

describe('in a folder', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'duobit-split-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  const splitFile = async (whole: string, onProgress?: (done: number, total: number) => void) => {
    const source = await createFileSource(whole);
    try {
      const openSink = (name: string | null) => createFileSink(join(folder, name ?? 'split.duo'));
      const options = { maxDataFileBytes: 14_000, dataFileName, ...(onProgress ? { onProgress } : {}) };
      await splitContainer(source, openSink, options);
    } finally {
      await source.close();
    }
  };

  it('data files are found beside the header file', async () => {
    const whole = join(folder, 'whole.duo');
    await writeFile(whole, sample.bytes);
    await splitFile(whole);
    const header = await createFileSource(join(folder, 'split.duo'));
    expect((await validateContainer(header, { canonical: true })).problems).toEqual([]);
    const merged = join(folder, 'merged.duo');
    await mergeContainer(header, await createFileSink(merged));
    expect(await readFile(merged)).toEqual(await readFile(whole));
    await rm(join(folder, 'part-2-of-4.data'));
    const report = await validateContainer(header);
    expect(report.problems.map(({ code }) => code)).toEqual(['DATA_FILE_MISSING']);
    await writeFile(join(folder, 'part-2-of-4.data'), '');
    const empty = await validateContainer(header);
    expect(empty.problems.map(({ code }) => code)).toEqual(['DATA_FILE_LENGTH']);
    await header.close();
  });

  it('an interruption leaves nothing behind', async () => {
    const whole = join(folder, 'whole.duo');
    await writeFile(whole, sample.bytes);
    const stop = (done: number, total: number) => {
      if (done > total / 2) throw new DuobitError('ABORTED', 'stopped');
    };
    await expect(splitFile(whole, stop)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(folder)).toEqual(['whole.duo']);
  });
});
