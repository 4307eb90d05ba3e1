// The safetensors header reader on honest files and on every way a header can lie.
import { createMemorySource, DuobitError } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSafetensorsHeader } from './safetensors.ts';
import { expectFailure } from './testing/rejects.ts';
import { writeRawSafetensors, writeSafetensors } from './testing/safetensors-writer.ts';

const read = (bytes: Uint8Array) => readSafetensorsHeader(createMemorySource(bytes, 'w.safetensors'));

const TENSORS = [
  { name: 'b', dtype: 'F32', shape: [2, 3], data: new Uint8Array(24).fill(1) },
  { name: 'a', dtype: 'BF16', shape: [4], data: new Uint8Array(8).fill(2) },
  { name: 'empty', dtype: 'F16', shape: [0, 5], data: new Uint8Array(0) },
  { name: 'scalar', dtype: 'I64', shape: [], data: new Uint8Array(8).fill(3) },
];

describe('readSafetensorsHeader', () => {
  it('reads names, types, shapes and absolute offsets', async () => {
    const file = writeSafetensors(TENSORS);
    const entries = await read(file);
    expect([...entries.keys()].sort()).toEqual(['a', 'b', 'empty', 'scalar']);
    for (const { name, dtype, shape, data } of TENSORS) {
      const entry = entries.get(name)!;
      expect(entry).toMatchObject({ dtype, shape, length: data.length });
      expect(file.subarray(entry.offset, entry.offset + entry.length)).toEqual(data);
    }
  });

  const one = (entry: object) => JSON.stringify({ w: entry });
  const good = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };

  it.each<[string, Uint8Array, string, string]>([
    ['shorter than a length', new Uint8Array(5), 'SAFETENSORS_TRUNCATED', '5 bytes'],
    [
      'a length over the limit',
      writeRawSafetensors('{}', new Uint8Array(0), 100_000_001n),
      'SAFETENSORS_HEADER_TOO_LARGE',
      '100000001',
    ],
    [
      'a length of 2^64 - 1',
      writeRawSafetensors('{}', new Uint8Array(0), 2n ** 64n - 1n),
      'SAFETENSORS_HEADER_TOO_LARGE',
      '18446744073709551615',
    ],
    [
      'a length beyond the file',
      writeRawSafetensors('{}', new Uint8Array(3), 6n),
      'SAFETENSORS_TRUNCATED',
      '6 bytes',
    ],
    ['no JSON', writeRawSafetensors('{"w":', new Uint8Array(8)), 'SAFETENSORS_HEADER_INVALID', 'header'],
    ['an empty header', writeRawSafetensors('', new Uint8Array(8)), 'SAFETENSORS_HEADER_INVALID', 'header'],
    ['a list', writeRawSafetensors('[]', new Uint8Array(0)), 'SAFETENSORS_HEADER_INVALID', 'header'],
    [
      'space before the object',
      writeRawSafetensors(' {}', new Uint8Array(0)),
      'SAFETENSORS_HEADER_INVALID',
      'header',
    ],
    [
      'bytes that are not UTF-8',
      writeRawSafetensors(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x30, 0x7d), new Uint8Array(0)),
      'SAFETENSORS_HEADER_INVALID',
      'header',
    ],
    [
      'a tensor twice',
      writeRawSafetensors(`{"w":${JSON.stringify(good)},"w":${JSON.stringify(good)}}`, new Uint8Array(8)),
      'SAFETENSORS_DUPLICATE_KEY',
      '"w"',
    ],
    [
      'metadata that is not text',
      writeRawSafetensors('{"__metadata__":{"a":1}}', new Uint8Array(0)),
      'SAFETENSORS_HEADER_INVALID',
      '__metadata__',
    ],
    [
      'an entry that is no object',
      writeRawSafetensors('{"w":7}', new Uint8Array(0)),
      'SAFETENSORS_HEADER_INVALID',
      'w',
    ],
    [
      'no dtype',
      writeRawSafetensors(one({ ...good, dtype: undefined }), new Uint8Array(8)),
      'SAFETENSORS_HEADER_INVALID',
      'dtype',
    ],
    [
      'an unknown dtype',
      writeRawSafetensors(one({ ...good, dtype: 'toString' }), new Uint8Array(8)),
      'SAFETENSORS_DTYPE_UNKNOWN',
      'toString',
    ],
    [
      'a negative size',
      writeRawSafetensors(one({ ...good, shape: [-2] }), new Uint8Array(8)),
      'SAFETENSORS_HEADER_INVALID',
      'shape',
    ],
    [
      'a fraction of a size',
      writeRawSafetensors(one({ ...good, shape: [2.5] }), new Uint8Array(8)),
      'SAFETENSORS_HEADER_INVALID',
      'shape',
    ],
    [
      'three offsets',
      writeRawSafetensors(one({ ...good, data_offsets: [0, 4, 8] }), new Uint8Array(8)),
      'SAFETENSORS_HEADER_INVALID',
      'data_offsets',
    ],
    [
      'offsets backwards',
      writeRawSafetensors(one({ ...good, data_offsets: [8, 0] }), new Uint8Array(8)),
      'SAFETENSORS_LAYOUT',
      'before its begin',
    ],
    [
      'a shape that is larger than the data',
      writeRawSafetensors(one({ ...good, shape: [3] }), new Uint8Array(8)),
      'SAFETENSORS_SIZE_MISMATCH',
      'needs 12 bytes',
    ],
    [
      // 2^53 * 2^53 * 2^22 elements wrap to 0 in 64 bits.
      'a product that wraps',
      writeRawSafetensors(
        one({ dtype: 'F32', shape: [2 ** 52, 2 ** 52, 2 ** 24], data_offsets: [0, 0] }),
        new Uint8Array(0),
      ),
      'SAFETENSORS_SIZE_MISMATCH',
      'data_offsets give 0',
    ],
    [
      'data beyond the end',
      writeRawSafetensors(one({ ...good, shape: [4], data_offsets: [0, 16] }), new Uint8Array(8)),
      'SAFETENSORS_TRUNCATED',
      'w',
    ],
    [
      'a hole',
      writeRawSafetensors(one({ ...good, data_offsets: [4, 12] }), new Uint8Array(12)),
      'SAFETENSORS_LAYOUT',
      'hole of 4',
    ],
    [
      'an overlap',
      writeRawSafetensors(
        JSON.stringify({ v: good, w: { ...good, data_offsets: [4, 12] } }),
        new Uint8Array(12),
      ),
      'SAFETENSORS_LAYOUT',
      'overlap of 4',
    ],
    [
      'two tensors on one range',
      writeRawSafetensors(JSON.stringify({ v: good, w: good }), new Uint8Array(8)),
      'SAFETENSORS_LAYOUT',
      'overlap of 8',
    ],
    [
      'bytes after the last tensor',
      writeRawSafetensors(one(good), new Uint8Array(9)),
      'SAFETENSORS_LAYOUT',
      'last tensor ends',
    ],
  ])('refuses %s', async (_name, bytes, code, named) => {
    await expectFailure(() => read(bytes), code, named, 'w.safetensors');
  });

  it('refuses every truncation', async () => {
    const file = writeSafetensors(TENSORS);
    for (let length = 0; length < file.length; length++) {
      await expect(read(file.slice(0, length))).rejects.toBeInstanceOf(DuobitError);
    }
  });

  it('answers any damaged byte with a DuobitError or with entries that lie inside the file', async () => {
    const file = writeSafetensors(TENSORS);
    const index = fc.nat(file.length - 1);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(index, fc.nat(255)), { minLength: 1, maxLength: 3 }),
        async (edits) => {
          const damaged = file.slice();
          for (const [at, value] of edits) damaged[at] = value;
          const entries = await read(damaged).catch((error: unknown) => {
            expect(error).toBeInstanceOf(DuobitError);
            return new Map();
          });
          for (const { offset, length } of entries.values())
            expect(offset + length).toBeLessThanOrEqual(file.length);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
