// What the comparison with llama.cpp on a GPU is made of: random files that the quantizer's own reader takes, and libraries without the
// machine code of other architectures.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openCheckpoint } from '@duobit/quantizer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHAPES } from '../../packages/runtime-node/gpu/random-model.mjs';
import { describeGguf } from '../gguf-read.mjs';
import { keepArchitecture } from './fatbin.mjs';
import { writeRandomGguf } from './random-gguf.mjs';

describe('random GGUF files', () => {
  let folder;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'duobit-bench-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each([
    ['rows of 256', { hiddenSize: 256, intermediateSize: 512, tiedHead: false }, ['Q4_0', 'Q6_K']],
    ['rows of 192, tied', { hiddenSize: 192, intermediateSize: 512, tiedHead: true }, ['Q4_0', 'Q8_0']],
  ])('have the types of Q4_0 and weights of the right size: %s', async (_, sizes, types) => {
    const file = path.join(folder, 'random.gguf');
    const architecture = {
      ...SHAPES.tiny,
      headSize: 64,
      headCount: sizes.hiddenSize / 64,
      kvHeadCount: 1,
      ...sizes,
    };
    await writeRandomGguf(architecture, file);
    const facts = await describeGguf(file);
    expect(Object.keys(facts.types).sort()).toEqual(types);
    expect(facts.linearBitsPerWeight).toBe(4.5);
    const checkpoint = await openCheckpoint(file);
    for (const name of checkpoint.tensorNames) {
      const { shape } = checkpoint.tensorInfo(name);
      if (shape.length === 1) continue;
      const values = await checkpoint.readRows(name, 0, shape[0]);
      const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
      // Squares of n uniform numbers have a mean that deviates by the root of 0.8 / n: by 0.8 % of the smallest tensor's 12,288, and by 1 % of
      // the 8,192 scales of the one in Q6_K. Six times that.
      expect(Math.abs(square * shape[1] - 1), name).toBeLessThan(0.06);
    }
    await checkpoint.close();
  });
});

describe('keepArchitecture', () => {
  const HEADER = 64;
  const entry = (kind, architecture, payload) => {
    const bytes = Buffer.alloc(HEADER + payload.length);
    bytes.writeUInt16LE(kind, 0);
    bytes.writeUInt32LE(HEADER, 4);
    bytes.writeBigUInt64LE(BigInt(payload.length), 8);
    bytes.writeUInt32LE(architecture, 28);
    return Buffer.concat([bytes.subarray(0, HEADER), Buffer.from(payload)]);
  };
  const container = (...entries) => {
    const body = Buffer.concat(entries);
    const head = Buffer.alloc(16);
    head.writeUInt32LE(0xba55ed50, 0);
    head.writeUInt16LE(1, 4);
    head.writeUInt16LE(16, 6);
    head.writeBigUInt64LE(BigInt(body.length), 8);
    return Buffer.concat([head, body]);
  };
  /** An ELF file of one section beside that of names. */
  const library = (section) => {
    const names = Buffer.from('\0.nv_fatbin\0');
    const table = 64 + section.length + names.length;
    const bytes = Buffer.concat([Buffer.alloc(64), section, names, Buffer.alloc(2 * 64)]);
    bytes.writeBigUInt64LE(BigInt(table), 0x28);
    bytes.writeUInt16LE(64, 0x3a);
    bytes.writeUInt16LE(2, 0x3c);
    bytes.writeUInt16LE(1, 0x3e);
    for (const [index, name, offset, size] of [
      [0, 1, 64, section.length],
      [1, 0, 64 + section.length, names.length],
    ]) {
      bytes.writeUInt32LE(name, table + 64 * index);
      bytes.writeBigUInt64LE(BigInt(offset), table + 64 * index + 24);
      bytes.writeBigUInt64LE(BigInt(size), table + 64 * index + 32);
    }
    return bytes;
  };
  const content = (blank) =>
    Buffer.concat([
      container(entry(1, 90, blank('ptx 90..')), entry(2, 86, blank('code of 86......'))),
      Buffer.alloc(8),
      container(entry(2, 90, 'code 90.'), entry(2, 120, blank('code 120'))),
    ]);

  it('fills all other entries with zeros and moves nothing', () => {
    const bytes = library(content((text) => text));
    expect(keepArchitecture(bytes, 90)).toBe(1);
    expect(bytes).toEqual(library(content((text) => Buffer.alloc(text.length))));
  });

  it('refuses what is not laid out so', () => {
    expect(() => keepArchitecture(library(container(entry(7, 90, 'x'))), 90)).toThrow('.nv_fatbin');
    const other = library(Buffer.alloc(16));
    other.write('.rodata\0', other.indexOf('.nv_fatbin'), 'latin1');
    expect(() => keepArchitecture(other, 90)).toThrow('no section');
  });
});
