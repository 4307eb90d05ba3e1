// The GGUF header reader: all value types, agreement with an independent parser, and every way a header can lie.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createMemorySource, DuobitError } from '@duobit/format';
import { gguf } from '@huggingface/gguf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGgufHeader } from './gguf-header.ts';
import { type GgufField, type GgufSpec, type GgufTensorSpec, writeGguf } from './testing/gguf-writer.ts';
import { expectFailure } from './testing/rejects.ts';

const read = (bytes: Uint8Array) => readGgufHeader(createMemorySource(bytes, 'm.gguf'));

const METADATA: readonly (readonly [string, GgufField])[] = [
  ['a.u8', { type: 'u8', value: 255 }],
  ['a.i8', { type: 'i8', value: -128 }],
  ['a.u16', { type: 'u16', value: 65_535 }],
  ['a.i16', { type: 'i16', value: -32_768 }],
  ['a.u32', { type: 'u32', value: 2 ** 32 - 1 }],
  ['a.i32', { type: 'i32', value: -(2 ** 31) }],
  ['a.f32', { type: 'f32', value: 0.5 }],
  ['a.f64', { type: 'f64', value: 0.1 }],
  ['a.u64', { type: 'u64', value: 2n ** 53n - 1n }],
  ['a.wide', { type: 'u64', value: 2n ** 64n - 1n }],
  ['a.i64', { type: 'i64', value: -5n }],
  ['a.yes', { type: 'bool', value: true }],
  ['a.no', { type: 'bool', value: false }],
  ['a.text', { type: 'string', value: 'grüße 🦊' }],
  ['a.texts', { type: 'strings', value: ['', 'Ġthe', '\u2581x'] }],
  ['a.numbers', { type: 'i32s', value: [1, -2, 3] }],
];

const F32 = (name: string, dimensions: number[]): GgufTensorSpec => ({
  name,
  dimensions,
  type: 0,
  data: new Uint8Array(4 * dimensions.reduce((a, b) => a * b, 1)),
});

const TENSORS = [
  F32('x', [3, 2]),
  F32('y', [5]),
  { name: 'q', dimensions: [64, 2], type: 3, data: new Uint8Array(80) },
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'duobit-gguf-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('readGgufHeader', () => {
  it.each([2, 3])('reads every type of metadata and the tensor table of version %d', async (version) => {
    const header = await read(writeGguf({ version, metadata: METADATA, tensors: TENSORS }));
    expect(header.version).toBe(version);
    expect(Object.fromEntries(header.metadata)).toEqual({
      'a.u8': 255,
      'a.i8': -128,
      'a.u16': 65_535,
      'a.i16': -32_768,
      'a.u32': 2 ** 32 - 1,
      'a.i32': -(2 ** 31),
      'a.f32': 0.5,
      'a.f64': 0.1,
      'a.u64': 2 ** 53 - 1,
      'a.wide': 2n ** 64n - 1n,
      'a.i64': -5,
      'a.yes': true,
      'a.no': false,
      'a.text': 'grüße 🦊',
      'a.texts': ['', 'Ġthe', '\u2581x'],
      'a.numbers': [1, -2, 3],
    });
    expect(header.tensors.get('x')).toMatchObject({ shape: [2, 3], length: 24, type: { name: 'F32' } });
    expect(header.tensors.get('q')).toMatchObject({ shape: [2, 64], length: 80, type: { name: 'Q4_1' } });
  });

  it('agrees with @huggingface/gguf on keys, values, names, shapes and offsets', async () => {
    const file = path.join(folder, 'both.gguf');
    const alignment: readonly [string, GgufField] = ['general.alignment', { type: 'u32', value: 64 }];
    const bytes = writeGguf({ metadata: [...METADATA, alignment], tensors: TENSORS, alignment: 64 });
    await writeFile(file, bytes);
    const theirs = await gguf(file, { allowLocalFile: true });
    const ours = await read(bytes);
    for (const [key, value] of ours.metadata) {
      const other: unknown = Reflect.get(theirs.metadata, key);
      expect(typeof other === 'bigint' && typeof value === 'number' ? Number(other) : other).toEqual(value);
    }
    expect(theirs.tensorInfos).toHaveLength(ours.tensors.size);
    for (const info of theirs.tensorInfos) {
      const tensor = ours.tensors.get(info.name)!;
      expect(tensor.shape).toEqual([...info.shape].reverse().map(Number));
      expect(tensor.offset).toBe(Number(theirs.tensorDataOffset + info.offset));
    }
  });

  it('reads headers longer than its window, with values across the edges', async () => {
    const tokens = Array.from({ length: 60_000 }, (_, i) => `token number ${i} `.repeat(1 + (i % 3)));
    const header = await read(writeGguf({ metadata: [['t', { type: 'strings', value: tokens }]] }));
    expect(header.metadata.get('t')).toEqual(tokens);
  });

  it.each<[string, GgufSpec | Uint8Array, string, string]>([
    ['another magic', { magic: 'GGML' }, 'GGUF_MAGIC', '47 47 4d 4c'],
    ['three bytes', new TextEncoder().encode('GGU'), 'GGUF_MAGIC', '47 47 55'],
    ['version 1', { version: 1 }, 'GGUF_VERSION', 'version 1'],
    ['version 4', { version: 4 }, 'GGUF_VERSION', 'version 4'],
    ['big-endian numbers', { version: 0x03000000 }, 'GGUF_VERSION', 'big-endian'],
    ['more tensors than fit', { tensorCount: 1000n }, 'GGUF_COUNT', 'number of tensors is 1000'],
    ['2^64 - 1 tensors', { tensorCount: 2n ** 64n - 1n }, 'GGUF_COUNT', '18446744073709551615'],
    ['more pairs than fit', { metadataCount: 70_000n }, 'GGUF_COUNT', 'metadata pairs is 70000'],
    [
      'an unknown value type',
      { metadata: [['k', { type: 'unknown', number: 13 }]] },
      'GGUF_INVALID',
      'value type 13',
    ],
    ['a boolean of 2', { metadata: [['k', { type: 'bool', value: 2 }]] }, 'GGUF_INVALID', 'k'],
    [
      'an array longer than the file',
      { metadata: [['k', { type: 'raw', itemType: 8, length: 2n ** 40n, bytes: new Uint8Array(8) }]] },
      'GGUF_COUNT',
      '1099511627776',
    ],
    [
      'an array of an unknown type',
      { metadata: [['k', { type: 'raw', itemType: 99, length: 1n, bytes: new Uint8Array(8) }]] },
      'GGUF_INVALID',
      'value type 99',
    ],
    [
      'arrays in arrays without end',
      {
        metadata: [
          [
            'k',
            {
              type: 'raw',
              itemType: 9,
              length: 1n,
              bytes: Uint8Array.from({ length: 12 * 50 }, (_, i) =>
                i % 12 === 0 ? 9 : i % 12 === 4 ? 1 : 0,
              ),
            },
          ],
        ],
      },
      'GGUF_INVALID',
      'nested',
    ],
    [
      'a key twice',
      { metadata: [...METADATA.slice(0, 2), ['a.u8', { type: 'u8', value: 1 }]] },
      'GGUF_DUPLICATE',
      'a.u8',
    ],
    ['a tensor twice', { tensors: [F32('x', [8]), F32('x', [8])] }, 'GGUF_DUPLICATE', 'x'],
    ['no dimensions', { tensors: [{ ...F32('x', [1]), dimensions: [] }] }, 'GGUF_INVALID', '0 dimensions'],
    ['five dimensions', { tensors: [F32('x', [1, 1, 1, 1, 1])] }, 'GGUF_INVALID', '5 dimensions'],
    [
      'a dimension of 0',
      { tensors: [{ ...F32('x', [1]), dimensions: [0, 4] }] },
      'GGUF_TENSOR_LAYOUT',
      '[0, 4]',
    ],
    [
      'a product that wraps in 64 bits',
      { tensors: [{ ...F32('x', [1]), dimensions: [2n ** 33n, 2n ** 31n] }] },
      'GGUF_TRUNCATED',
      '73786976294838206464 bytes',
    ],
    [
      'rows that are no whole blocks',
      { tensors: [{ name: 'x', dimensions: [48, 2], type: 3, data: new Uint8Array(60) }] },
      'GGUF_TENSOR_LAYOUT',
      'blocks of 32',
    ],
    [
      'a type that is not read',
      { tensors: [{ name: 'x', dimensions: [256], type: 23, data: new Uint8Array(136) }] },
      'GGUF_TENSOR_TYPE',
      'stored as IQ4_XS',
    ],
    [
      'a type that does not exist',
      { tensors: [{ name: 'x', dimensions: [256], type: 1000, data: new Uint8Array(136) }] },
      'GGUF_TENSOR_TYPE',
      'number 1000',
    ],
    [
      'an overlap',
      { tensors: [F32('x', [16]), { ...F32('y', [16]), offset: 32 }] },
      'GGUF_TENSOR_LAYOUT',
      'byte 32',
    ],
    [
      'a gap',
      { tensors: [F32('x', [8]), { ...F32('y', [8]), offset: 64 }] },
      'GGUF_TENSOR_LAYOUT',
      '32 follows',
    ],
    ['an unaligned offset', { tensors: [{ ...F32('x', [8]), offset: 4 }] }, 'GGUF_TENSOR_LAYOUT', 'byte 4'],
    [
      'an offset of 2^63',
      { tensors: [{ ...F32('x', [8]), offset: 2n ** 63n }] },
      'GGUF_TENSOR_LAYOUT',
      '9223372036854775808',
    ],
    [
      'an alignment of 48',
      { metadata: [['general.alignment', { type: 'u32', value: 48 }]] },
      'GGUF_INVALID',
      'alignment is 48',
    ],
    [
      'an alignment that is text',
      { metadata: [['general.alignment', { type: 'string', value: '32' }]] },
      'GGUF_INVALID',
      'general.alignment',
    ],
  ])('refuses %s', async (_name, spec, code, named) => {
    const bytes = spec instanceof Uint8Array ? spec : writeGguf(spec);
    await expectFailure(() => read(bytes), code, named, 'm.gguf');
  });

  it('refuses text that is not UTF-8', async () => {
    const bytes = writeGguf({ metadata: [['key', { type: 'string', value: 'abc' }]] });
    bytes[bytes.indexOf(0x61)] = 0xff;
    await expectFailure(() => read(bytes), 'GGUF_INVALID', 'UTF-8');
  });

  it('refuses every truncation', async () => {
    const bytes = writeGguf({ metadata: METADATA, tensors: TENSORS });
    const end = bytes.length - 16;
    for (let length = 0; length < end; length++) {
      await expect(read(bytes.slice(0, length))).rejects.toBeInstanceOf(DuobitError);
    }
    // The last tensor's padding is not needed.
    expect((await read(bytes.slice(0, end))).tensors.size).toBe(3);
  });

  it('answers any damaged bytes with a DuobitError or with tensors that lie inside the file', async () => {
    const bytes = writeGguf({ metadata: METADATA, tensors: TENSORS });
    const edit = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        const damaged = bytes.slice();
        for (const [at, value] of edits) damaged[at] = value;
        const header = await read(damaged).catch((error: unknown) => {
          expect(error).toBeInstanceOf(DuobitError);
          return null;
        });
        for (const { offset, length } of header?.tensors.values() ?? []) {
          expect(offset + length).toBeLessThanOrEqual(bytes.length);
        }
      }),
      { numRuns: 1500 },
    );
  });
});
