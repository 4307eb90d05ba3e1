// The GGUF writer through the quantizer's reader: what goes in as a Hugging Face folder comes out the same, in F16.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { f16ToF32, f32ToF16 } from '@duobit/format';
import { openCheckpoint } from '@duobit/quantizer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeArchitecture, exportGguf, field, interleavedRow, toGgufName } from './gguf.mjs';
import { describeGguf, readGgufFields, skimGguf } from './gguf-read.mjs';

const MODEL = fileURLToPath(new URL('../fixtures/tinystories-656k', import.meta.url));
const TOKENS = ['<a>', 'b', 'ö', 'd'];
const TOKENIZER = [
  ['tokenizer.ggml.model', field.string('gpt2')],
  ['tokenizer.ggml.tokens', field.strings(TOKENS)],
  ['tokenizer.ggml.token_type', field.i32s([3, 1, 1, 1])],
  ['tokenizer.ggml.merges', field.strings([])],
];

let folder;
let file;
let source;
let copy;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'duobit-bench-'));
  file = path.join(folder, 'copy.gguf');
  source = await openCheckpoint(MODEL);
  await exportGguf(source, file);
  copy = await openCheckpoint(file);
});
afterAll(async () => {
  await copy?.close();
  await source?.close();
  await rm(folder, { recursive: true, force: true });
});

describe('exportGguf', () => {
  it('keeps the architecture', () => {
    const { normEpsilon, ...exact } = source.architecture;
    expect(copy.architecture).toMatchObject(exact);
    // GGUF holds it as f32.
    expect(copy.architecture.normEpsilon).toBe(Math.fround(normEpsilon));
  });

  it('keeps every tensor, matrices rounded to F16 and vectors exact', async () => {
    expect(copy.tensorNames).toEqual(source.tensorNames);
    for (const name of source.tensorNames) {
      const values = await source.readF32(name);
      const isVector = source.tensorInfo(name).shape.length === 1;
      const expected = isVector ? values : values.map((value) => f16ToF32(f32ToF16(value)));
      expect(await copy.readF32(name), name).toEqual(expected);
    }
  });

  it('writes to the last byte that the table of tensors tells of', async () => {
    const { tensors } = await skimGguf(file);
    for (const { name, weights, bytes, type } of tensors) {
      const length = weights * (type === 'F16' ? 2 : 4);
      expect(bytes - length, name).toBeGreaterThanOrEqual(0);
      expect(bytes - length, name).toBeLessThan(32);
    }
  });

  it('copies tokenizer metadata byte for byte', async () => {
    const first = path.join(folder, 'first.gguf');
    const second = path.join(folder, 'second.gguf');
    await exportGguf(source, first, TOKENIZER);
    await exportGguf(source, second, await readGgufFields(first, 'tokenizer.'));
    expect(await readGgufFields(second, 'tokenizer.')).toEqual(TOKENIZER);
    const opened = await openCheckpoint(second);
    const tokenizer = JSON.parse(new TextDecoder().decode(await opened.readAsset('tokenizer')));
    expect(Object.keys(tokenizer.model.vocab)).toEqual(TOKENS);
    await opened.close();
  });

  it('refuses what GGUF would not say', () => {
    const architecture = { ...source.architecture, slidingWindow: 64 };
    expect(() => describeArchitecture(architecture, 'm')).toThrow(/slidingWindow/);
    expect(() => toGgufName('model.layers.0.self_attn.q_norm.weight')).toThrow(/q_norm/);
  });
});

describe('interleavedRow', () => {
  it('puts the two entries of a pair beside each other, head by head', () => {
    expect(Array.from({ length: 8 }, (_, row) => interleavedRow(row, 4))).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  });
});

describe('describeGguf', () => {
  it('counts weights by type and the bits of the linear layers', async () => {
    const { types, weights, linearBitsPerWeight } = await describeGguf(file);
    const matrices = source.tensorNames.map((name) => source.tensorInfo(name).shape);
    const count = (shapes) => shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(types).toEqual({ F16: count(matrices.filter((shape) => shape.length === 2)) });
    expect(weights).toBe(count(matrices));
    expect(linearBitsPerWeight).toBeCloseTo(16, 1);
  });

  it('says what is wrong with a file', async () => {
    const broken = path.join(folder, 'broken.gguf');
    await writeFile(broken, 'GGUX');
    await expect(skimGguf(broken)).rejects.toThrow('is no GGUF file');
    await writeFile(broken, Buffer.from([0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0, 1]));
    await expect(skimGguf(broken)).rejects.toThrow('the header ends at byte 8');
  });
});
