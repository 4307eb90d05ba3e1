// Every rule about data, by its code: validation lists it, and reading the bytes finds wrong hashes.

import { beforeAll, describe, expect, it } from 'vitest';
import { openCode, validationCodes } from '../test/codes.ts';
import { forgeData, forgeHeader } from '../test/forge.ts';
import { type Sample, writeSample } from '../test/sample.ts';
import { createMemorySource, openContainer, validateContainer } from './index.ts';

let sample: Sample;
beforeAll(async () => {
  sample = await writeSample();
});

const Q = 'model.layers.0.self_attn.q_proj.weight';

const OUTLIERS = 'model.layers.1.mlp.gate_proj.weight';
const BINARY = 'model.layers.1.self_attn.o_proj.weight';

describe('rules of the data', () => {
  const at =
    (name: string, role: string) =>
    (
      data: Uint8Array,
      manifest: {
        tensors: readonly {
          name: string;
          planes: readonly { role: string; segment: number; offset: number; length: number }[];
        }[];
        segments: readonly { offset: number }[];
      },
    ) => {
      const plane = manifest.tensors
        .find((candidate) => candidate.name === name)!
        .planes.find((p) => p.role === role)!;
      const start = manifest.segments[plane.segment]!.offset + plane.offset;
      return data.subarray(start, start + plane.length);
    };

  it.each<[string, string, Parameters<typeof forgeData>[1]]>([
    ['VALUE_NOT_FINITE', 'NaN alpha', (data, m) => at(Q, 'alpha')(data, m).set([0x00, 0x7e], 6)],
    [
      'VALUE_NOT_FINITE',
      'infinite mu, last value',
      (data, m) => at(Q, 'mu')(data, m).set([0x00, 0xfc], 40 * 8 - 2),
    ],
    [
      'VALUE_NOT_FINITE',
      'infinite scale',
      (data, m) => at('lm_head.weight', 'scale')(data, m).set([0x00, 0x7c]),
    ],
    [
      'VALUE_NOT_FINITE',
      'NaN f32',
      (data, m) => at('model.layers.0.input_layernorm.weight', 'dense')(data, m).set([1, 0, 0x80, 0xff], 140),
    ],
    [
      'VALUE_NOT_FINITE',
      'infinite bf16',
      (data, m) =>
        at('model.layers.1.post_attention_layernorm.weight', 'dense')(data, m).set([0x80, 0x7f], 70),
    ],
    [
      'CODE_RANGE',
      'int8 code of -128',
      (data, m) => at('model.embed_tokens.weight', 'codes')(data, m).set([0x80], 35),
    ],
    ['PADDING_NONZERO', 'sign pad bit', (data, m) => at(Q, 'sign')(data, m).set([0x10], 4)],
    ['PADDING_NONZERO', 'bitmap pad byte', (data, m) => at(Q, 'bitmap')(data, m).set([0x80], 39 * 8 + 7)],
    [
      'PADDING_NONZERO',
      'int4 pad nibble',
      (data, m) => at('lm_head.weight', 'codes')(data, m).set([0x01], 18),
    ],
    [
      'PADDING_NONZERO',
      'a byte between planes',
      (data, m) => void (data[m.segments[2]!.offset + 36 * 4] = 1),
    ],
    ['PADDING_NONZERO', 'a byte between segments', (data, m) => void (data[m.segments[2]!.offset - 1] = 1)],
    [
      'TOKENIZER_VOCABULARY',
      'an id without embedding',
      (data, m) => data.set(new TextEncoder().encode('"b":39'), m.segments[0]!.offset + 25),
    ],
    [
      'VALUE_NOT_FINITE',
      'NaN outlier scale',
      (data, m) => at(OUTLIERS, 'outlier-scale')(data, m).set([0x01, 0x7c], 102),
    ],
    [
      'VALUE_NOT_FINITE',
      'infinite salient minimum',
      (data, m) => at(BINARY, 'salient-scale')(data, m).set([0x00, 0xfc], 2),
    ],
    [
      'CODE_RANGE',
      'outlier code of -128',
      (data, m) => at(OUTLIERS, 'outlier-codes')(data, m).set([0x80], 4),
    ],
    [
      'PADDING_NONZERO',
      'outlier pad byte',
      (data, m) => at(OUTLIERS, 'outlier-codes')(data, m).set([1], 207),
    ],
    [
      'PADDING_NONZERO',
      'outlier pad byte of 0x80',
      (data, m) => at(OUTLIERS, 'outlier-codes')(data, m).set([0x80], 3),
    ],
    [
      'CODE_RANGE',
      'outlier code of -128 before a wrong pad byte',
      (data, m) => {
        at(OUTLIERS, 'outlier-codes')(data, m).set([0x80], 6);
        at(OUTLIERS, 'outlier-codes')(data, m).set([0x80], 7);
      },
    ],
    ['PADDING_NONZERO', 'salient pad byte', (data, m) => at(BINARY, 'salient-codes')(data, m).set([1], 70)],
    ['PADDING_NONZERO', 'salient pad bit', (data, m) => at(BINARY, 'salient-mask')(data, m).set([1], 5)],
    [
      'OUTLIER_INDEX',
      'an outlier column that does not exist',
      (data, m) => at(OUTLIERS, 'outlier-index')(data, m).set([36], 8),
    ],
    [
      'OUTLIER_INDEX',
      'an outlier column twice',
      (data, m) => {
        const index = at(OUTLIERS, 'outlier-index')(data, m);
        index.copyWithin(4, 0, 4);
      },
    ],
    [
      'OUTLIER_BITS',
      'a bitmap bit in an outlier column of the last row',
      (data, m) => {
        const column = at(OUTLIERS, 'outlier-index')(data, m)[4]!;
        at(OUTLIERS, 'bitmap')(data, m)[51 * 8 + (column >> 3)]! |= 1 << (column & 7);
      },
    ],
    [
      'SALIENT_BITS',
      'a sign bit of a salient weight',
      (data, m) => {
        const mask = at(BINARY, 'salient-mask')(data, m);
        const byte = mask.findLastIndex((bits) => bits !== 0);
        at(BINARY, 'sign')(data, m)[byte]! |= mask[byte]!;
      },
    ],
    [
      'SALIENT_OFFSETS',
      'a wrong offset',
      (data, m) => void (at(BINARY, 'salient-offsets')(data, m)[4 * 17]! += 1),
    ],
    [
      'SALIENT_OFFSETS',
      'a wrong last offset',
      (data, m) => void (at(BINARY, 'salient-offsets')(data, m)[4 * 36]! -= 1),
    ],
    [
      'SALIENT_OFFSETS',
      'a mask with one bit more, and offsets that count it',
      (data, m) => {
        const [mask, sign] = [at(BINARY, 'salient-mask')(data, m), at(BINARY, 'sign')(data, m)];
        const last = 35 * 8 + 3;
        const bit = ~mask[last]! & -~mask[last]!;
        mask[last]! |= bit;
        sign[last]! &= ~bit;
        at(BINARY, 'salient-offsets')(data, m)[4 * 36]! += 1;
      },
    ],
    ['TOKENIZER_INVALID', 'not JSON', (data, m) => data.set([0x21], m.segments[0]!.offset)],
  ])('%s: %s', async (code, _what, change) => {
    expect(await validationCodes(await forgeData(sample.bytes, change))).toEqual([code]);
  });

  it('PADDING_NONZERO: a byte after the header stops opening too', async () => {
    const bytes = sample.bytes.slice();
    bytes[16_383] = 1;
    expect(await openCode(bytes)).toBe('PADDING_NONZERO');
    expect(await validationCodes(bytes)).toEqual(['PADDING_NONZERO']);
  });

  it('CHUNK_HASH: found by validation, and by reading any byte of the chunk, not before', async () => {
    const bytes = sample.bytes.slice();
    const { manifest } = await openContainer(createMemorySource(bytes));
    const block = manifest.segments.find(({ name }) => name === 'block.0')!;
    bytes[block.offset + 3]! ^= 1;
    expect(await validationCodes(bytes)).toEqual(['CHUNK_HASH']);
    const container = await openContainer(createMemorySource(bytes));
    await container.readTensor('model.layers.1.self_attn.q_proj.weight');
    await expect(container.readTensor(Q)).rejects.toMatchObject({ code: 'CHUNK_HASH' });
    await expect(container.readTensor(Q)).rejects.toMatchObject({ code: 'CHUNK_HASH' });
    const shallow = await validateContainer(createMemorySource(bytes), { deep: false });
    expect(shallow.ok).toBe(true);
  });

  it('keeps the first problems and counts the others', async () => {
    const forged = await forgeHeader(sample.bytes, (content) => {
      for (const { activation } of content.tensors) if (activation) activation.clipLow = -1;
    });
    const report = await validateContainer(createMemorySource(forged), { maxProblems: 3 });
    expect([report.ok, report.problems.length, report.dropped]).toEqual([false, 3, 9]);
  });
});
