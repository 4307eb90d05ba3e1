// Container to folder and back: every value, every hyperparameter and every tokenizer byte; shards; GGUF; one tensor
// at a time.
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createModel, createWasmBackend } from '@duobit/core';
import {
  bf16ToF32,
  type Container,
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  decodeTensor,
  f16ToF32,
  type ModelSource,
  openContainer,
  packDense,
  rotateInput,
  type TensorSpec,
} from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../checkpoint/open.ts';
import { writeGguf } from '../checkpoint/testing/gguf-writer.ts';
import { ARCHITECTURE, METADATA, makeTensors, toGguf } from '../checkpoint/testing/small-llama.ts';
import { evaluatePerplexity } from '../evaluation/perplexity.ts';
import { quantize } from '../quantize.ts';
import { makeMemoryCheckpoint } from '../testing/memory-checkpoint.ts';
import { exportFolder, exportSafetensors } from './export.ts';

const FIXTURES = fileURLToPath(new URL('../../../../fixtures/', import.meta.url));
const TINY_STORIES = join(FIXTURES, 'tinystories-656k');

let folder: string;
let container: Container;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-export-'));
  // Not rotated, so that values come back bit for bit; a test below rotates some.
  await quantize(TINY_STORIES, join(folder, 'tiny.duo'), { rotation: 'none' });
  container = await openContainer(await createFileSource(join(folder, 'tiny.duo')));
});
afterAll(async () => {
  await container?.close();
  await rm(folder, { recursive: true, force: true });
});

async function withCheckpoint<T>(path: string, use: (source: ModelSource) => Promise<T>): Promise<T> {
  const source = await openCheckpoint(path);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

function bytesOf(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

/** The same model with the layers of some names stored in f32 for a rotated input. */
async function rotateInputsOf(source: Container, names: RegExp): Promise<Container> {
  const tensors = source.manifest.tensors.map(({ name, shape, encoding, activation }): TensorSpec => {
    return names.test(name)
      ? { name, shape, encoding: { kind: 'f32' }, activation, inputRotation: 'hadamard' }
      : { name, shape, encoding, activation };
  });
  const sink = createMemorySink();
  const writer = await createContainerWriter({ ...source.manifest, assets: [], tensors }, sink);
  for (const name of writer.order) {
    const tensor = await source.readTensor(name);
    const values = Float64Array.from(decodeTensor(tensor));
    const columns = tensor.info.shape[1]!;
    for (let start = 0; names.test(name) && start < values.length; start += columns)
      rotateInput(values.subarray(start, start + columns));
    const planes = names.test(name) ? packDense(Float32Array.from(values), 'f32') : tensor.planes;
    await writer.writeTensor(name, planes);
  }
  await writer.finish();
  return openContainer(createMemorySource(sink.bytes()));
}

/** Greatest difference of two values, in norms of their row of a. */
function worstOfRows(a: Float32Array, b: Float32Array, columns: number): number {
  let worst = 0;
  for (let start = 0; start < a.length; start += columns) {
    const norm = Math.hypot(...a.subarray(start, start + columns));
    for (let i = start; i < start + columns; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!) / norm);
  }
  return worst;
}

/** Demands the same tensors with the same bits. */
async function expectSameTensors(found: ModelSource, expected: ModelSource): Promise<void> {
  expect(found.tensorNames).toEqual(expected.tensorNames);
  for (const name of expected.tensorNames) {
    expect(found.tensorInfo(name).shape).toEqual(expected.tensorInfo(name).shape);
    const a = decodeTensor(await found.readTensor(name));
    const b = decodeTensor(await expected.readTensor(name));
    expect(bytesOf(a).equals(bytesOf(b)), name).toBe(true);
  }
}

describe('a container as a Hugging Face folder', () => {
  it('comes back bit for bit, with its configuration and its tokenizer', async () => {
    const out = join(folder, 'hf');
    const report = await exportFolder(container, out);
    await withCheckpoint(out, async (checkpoint) => {
      expect(checkpoint.architecture).toEqual(container.manifest.architecture);
      expect(checkpoint.specialTokens).toEqual(container.manifest.specialTokens);
      expect(checkpoint.tensorInfo('model.norm.weight').encoding).toEqual({ kind: 'f32' });
      await expectSameTensors(checkpoint, container);
    });
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
      expect((await readFile(join(out, name))).equals(await readFile(join(TINY_STORIES, name))), name).toBe(
        true,
      );
    }
    expect(report.files.map(({ name }) => name)).toEqual((await readdir(out)).sort());
    for (const { name, bytes } of report.files) expect((await stat(join(out, name))).size, name).toBe(bytes);
    expect(report).toMatchObject({ output: out, tensors: 20, parameters: 656_000, dtype: 'f32' });
    expect(report.bytes).toBe(report.files.reduce((sum, { bytes }) => sum + bytes, 0));
  });

  it('computes what the container computes on activations that are not quantized', async () => {
    const out = join(folder, 'same-model');
    await exportFolder(container, out);
    const text = await readFile(join(FIXTURES, 'stories/heldout.txt'), 'utf8');
    const measure = async (source: ModelSource): Promise<number> => {
      const backend = await createWasmBackend();
      const model = await createModel(source, backend, { contextLength: 128, activations: 'f16' });
      const { perplexity } = await evaluatePerplexity(model, text, { context: 128, limit: 4 });
      await model.dispose();
      await backend.dispose();
      return perplexity;
    };
    const [packed, dense, original] = [
      await measure(container),
      await withCheckpoint(out, measure),
      await withCheckpoint(TINY_STORIES, measure),
    ];
    expect(Math.abs(dense / packed - 1)).toBeLessThan(1e-4);
    // The two would agree about the original as well, were nothing quantized.
    expect(Math.abs(original / packed - 1)).toBeGreaterThan(0.1);
  });

  it('gives the weights of layers as they are, where they are stored for a rotated input', async () => {
    const rotated = await rotateInputsOf(container, /(q_proj|down_proj)\.weight$/);
    const [plain, out] = [join(folder, 'plain'), join(folder, 'rotated')];
    await exportFolder(container, plain);
    await exportFolder(rotated, out);
    await withCheckpoint(plain, (expected) =>
      withCheckpoint(out, async (found) => {
        for (const name of expected.tensorNames) {
          const a = decodeTensor(await expected.readTensor(name));
          const b = decodeTensor(await found.readTensor(name));
          const { inputRotation } = rotated.tensorInfo(name);
          if (inputRotation === undefined) expect(bytesOf(a).equals(bytesOf(b)), name).toBe(true);
          else {
            const columns = rotated.tensorInfo(name).shape[1]!;
            const stored = decodeTensor(await rotated.readTensor(name));
            expect(worstOfRows(a, b, columns), name).toBeLessThan(8 * 2 ** -24);
            expect(worstOfRows(a, stored, columns), name).toBeGreaterThan(0.1);
          }
        }
      }),
    );
  });

  it.each(['f16', 'bf16'] as const)('rounds to %s only when asked, to the nearest value', async (dtype) => {
    const out = join(folder, `hf-${dtype}`);
    await exportFolder(container, out, { dtype });
    const [decode, last] = dtype === 'f16' ? [f16ToF32, 0x7bff] : [bf16ToF32, 0x7f7f];
    await withCheckpoint(out, async (checkpoint) => {
      for (const name of container.tensorNames) {
        expect(checkpoint.tensorInfo(name).encoding).toEqual({ kind: dtype });
        const exact = decodeTensor(await container.readTensor(name));
        const { dense } = (await checkpoint.readTensor(name)).planes;
        const bits = new Uint16Array(dense!.buffer);
        const wrong = exact.findIndex((value, i) => {
          const magnitude = bits[i]! & 0x7fff;
          const error = (other: number) => Math.abs(Math.abs(value) - decode(other));
          const sign = Object.is(Math.sign(value), -0) || value < 0;
          return (
            sign !== bits[i]! >= 0x8000 ||
            (magnitude > 0 && error(magnitude - 1) < error(magnitude)) ||
            (magnitude < last && error(magnitude + 1) < error(magnitude))
          );
        });
        expect(wrong, name).toBe(-1);
      }
    });
  });

  it('splits the weights where they exceed the shard size, and replaces an older split with --force', async () => {
    const out = join(folder, 'shards');
    const split = async (shardSize: number) => {
      const { files } = await exportFolder(container, out, { shardSize, force: true });
      expect(files.map(({ name }) => name)).toEqual((await readdir(out)).sort());
      await withCheckpoint(out, (checkpoint) => expectSameTensors(checkpoint, container));
      return files.filter(({ name }) => name.endsWith('.safetensors'));
    };
    // The embedding alone is larger.
    const many = await split(600_000);
    expect(many.map(({ name }) => name)).toEqual(
      many.map((_, i) => `model-0000${i + 1}-of-0000${many.length}.safetensors`),
    );
    expect(many.length).toBeGreaterThan(2);
    const data = async ({ name, bytes }: { name: string; bytes: number }) =>
      bytes - 8 - Number((await readFile(join(out, name))).readBigUInt64LE(0));
    const sizes = await Promise.all(many.map(data));
    expect(sizes[0]).toBe(2048 * 128 * 4);
    expect(Math.max(...sizes.slice(1))).toBeLessThanOrEqual(600_000);
    const index = JSON.parse(await readFile(join(out, 'model.safetensors.index.json'), 'utf8'));
    expect(index.metadata).toEqual({ total_size: 656_000 * 4 });
    expect(Object.keys(index.weight_map)).toEqual([...container.tensorNames].sort());

    expect((await split(1_500_000)).length).toBeLessThan(many.length);
    expect(await split(656_000 * 4)).toHaveLength(1);
    expect(await split(656_000 * 4 - 1)).toHaveLength(2);
  });

  it('leaves files of other names where they are', async () => {
    const out = join(folder, 'with-readme');
    await mkdir(out);
    await writeFile(join(out, 'README.md'), 'mine');
    await writeFile(join(out, 'chat_template.jinja'), 'of another model');
    const { files } = await exportFolder(container, out, { force: true });
    expect(await readFile(join(out, 'README.md'), 'utf8')).toBe('mine');
    expect((await readdir(out)).sort()).toEqual(['README.md', ...files.map(({ name }) => name)].sort());
  });

  it('writes into an empty folder', async () => {
    const out = join(folder, 'empty');
    await mkdir(out);
    await exportFolder(container, out);
    await withCheckpoint(out, (checkpoint) => expectSameTensors(checkpoint, container));
  });
});

describe('the tensors alone', () => {
  it('are one file with the same bytes as the weights of a folder', async () => {
    const out = join(folder, 'alone.safetensors');
    const report = await exportSafetensors(container, out);
    await exportFolder(container, join(folder, 'whole'));
    const weights = await readFile(join(folder, 'whole/model.safetensors'));
    expect((await readFile(out)).equals(weights)).toBe(true);
    expect(report).toMatchObject({
      files: [{ name: 'alone.safetensors', bytes: weights.length }],
      tensors: 20,
    });
    // Data begin at a multiple of 8, as the reference implementation writes them.
    expect(Number(weights.readBigUInt64LE(0)) % 8).toBe(0);
    expect(weights.toString('utf8', 8, 60)).toMatch(/^\{"__metadata__":\{"format":"pt"\},"/);
  });
});

describe('other sources', () => {
  it('turns GGUF into a folder, heads in Hugging Face order', async () => {
    const file = join(folder, 'small.gguf');
    await writeFile(
      file,
      writeGguf({ metadata: [...METADATA], tensors: makeTensors().map((tensor) => toGguf(tensor)) }),
    );
    const out = join(folder, 'from-gguf');
    await withCheckpoint(file, async (gguf) => {
      const { files } = await exportFolder(gguf, out);
      expect(files.map(({ name }) => name)).toEqual([
        'config.json',
        'generation_config.json',
        'model.safetensors',
      ]);
      await withCheckpoint(out, async (checkpoint) => {
        expect(checkpoint.architecture).toEqual(ARCHITECTURE);
        expect(checkpoint.specialTokens).toEqual(gguf.specialTokens);
        await expectSameTensors(checkpoint, gguf);
        for (const { name, values } of makeTensors()) {
          expect(decodeTensor(await checkpoint.readTensor(name)), name).toEqual(values);
        }
      });
    });
  });

  it.each([
    ['none of its own', undefined, true],
    ['the same one inline', { chat_template: '{{ messages }}' }, false],
    ['it among several', { chat_template: [{ name: 'default', template: '{{ messages }}' }] }, false],
    ['another one inline', { chat_template: '{{ other }}' }, true],
  ])('gives a chat template a file when tokenizer_config.json has %s', async (_, config, written) => {
    const encode = (text: string) => new TextEncoder().encode(text);
    const source = makeMemoryCheckpoint(undefined, {
      'chat-template': encode('{{ messages }}'),
      license: encode('free'),
      ...(config === undefined ? {} : { 'tokenizer-config': encode(JSON.stringify(config)) }),
    });
    const out = await mkdtemp(join(folder, 'template-'));
    await exportFolder(source, out);
    expect((await readdir(out)).includes('chat_template.jinja')).toBe(written);
    expect(await readFile(join(out, 'LICENSE'), 'utf8')).toBe('free');
    await withCheckpoint(out, async (checkpoint) => {
      expect(new TextDecoder().decode((await checkpoint.readAsset('chat-template'))!)).toBe('{{ messages }}');
    });
  });

  it('reads a tensor only when the one before it is written', async () => {
    const source = makeMemoryCheckpoint();
    const log: string[] = [];
    const watched: ModelSource = {
      ...source,
      readTensor: async (name) => {
        log.push(`read ${name}`);
        return source.readTensor(name);
      },
    };
    await exportFolder(watched, join(folder, 'watched'), {
      shardSize: 4000,
      onProgress: ({ tensor, done, total }) =>
        log.push(`wrote ${tensor}`, ...(done === total ? ['all'] : [])),
    });
    expect(log).toEqual([...source.tensorNames.flatMap((name) => [`read ${name}`, `wrote ${name}`]), 'all']);
  });
});
