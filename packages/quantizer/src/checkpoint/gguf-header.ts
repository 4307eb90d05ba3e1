// The header of a GGUF file, versions 2 and 3 (ggml/docs/gguf.md): metadata and the table of tensors, checked against
// the size of the file. Big-endian files and splits are refused.
import type { ByteSource } from '@duobit/format';
import { GgufCursor } from './gguf-cursor.ts';
import { type BlockType, describeType, READABLE_TYPES, type ReadableType } from './gguf-types.ts';

export const GGUF_MAGIC = 'GGUF';

const MAX_METADATA = 65_536;
const MAX_TENSORS = 1_000_000;
const MAX_ARRAY = 16_777_216;
const MAX_ARRAY_DEPTH = 4;
const MAX_DIMENSIONS = 4;
const MAX_ALIGNMENT = 2 ** 20;

/** 64-bit integers beyond 2^53 stay bigint. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

export interface GgufTensor {
  readonly name: string;
  /** Row-major: GGUF's dimensions, which begin with the fastest, reversed. */
  readonly shape: readonly number[];
  readonly type: BlockType & { readonly name: ReadableType };
  /** From the start of the file. */
  readonly offset: number;
  readonly length: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

interface TensorRecord {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: BlockType & { readonly name: ReadableType };
  /** From the start of the data. */
  readonly offset: bigint;
  readonly length: number;
}

/**
 * @throws DuobitError `GGUF_MAGIC`, `GGUF_VERSION`, `GGUF_TRUNCATED`, `GGUF_COUNT`, `GGUF_INVALID`,
 * `GGUF_DUPLICATE`, `GGUF_TENSOR_TYPE`, `GGUF_TENSOR_LAYOUT`
 */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  const cursor = new GgufCursor(source);
  const magic = await cursor.bytes(Math.min(4, source.size), 'the magic');
  const text = String.fromCharCode(...magic);
  if (text !== GGUF_MAGIC) {
    const found = [...magic].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw cursor.fail('GGUF_MAGIC', `the file begins with ${found || 'nothing'}, not with "GGUF"`, 'byte 0');
  }
  const version = await cursor.u32('the version');
  if (version !== 2 && version !== 3) {
    const bigEndian = version === 0x02000000 || version === 0x03000000;
    throw cursor.fail(
      'GGUF_VERSION',
      bigEndian ? 'the file is big-endian' : `GGUF version ${version} is not known; versions 2 and 3 are`,
      'byte 4',
    );
  }
  // The smallest tensor record has 8 + 4 + 8 + 4 + 8 bytes, the smallest metadata pair 8 + 4 + 1.
  const tensorCount = await cursor.count('the number of tensors', 32, MAX_TENSORS);
  const metadataCount = await cursor.count('the number of metadata pairs', 13, MAX_METADATA);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = await cursor.string(`the key of metadata pair ${i}`);
    if (metadata.has(key)) throw cursor.fail('GGUF_DUPLICATE', 'the metadata key occurs twice', key);
    metadata.set(key, await readValue(cursor, await cursor.u32(`the type of ${key}`), key, 0));
  }
  const records: TensorRecord[] = [];
  for (let i = 0; i < tensorCount; i++) records.push(await readTensorRecord(cursor, i));
  return { version, metadata, tensors: placeTensors(cursor, records, readAlignment(cursor, metadata)) };
}

/** Smallest number of bytes that a value of each type has, by type number. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8] as const;
const ARRAY_TYPE = 9;

async function readValue(cursor: GgufCursor, type: number, key: string, depth: number): Promise<GgufValue> {
  switch (type) {
    case 0:
      return cursor.u8(key);
    case 1:
      return cursor.i8(key);
    case 2:
      return cursor.u16(key);
    case 3:
      return cursor.i16(key);
    case 4:
      return cursor.u32(key);
    case 5:
      return cursor.i32(key);
    case 6:
      return cursor.f32(key);
    case 7: {
      const value = await cursor.u8(key);
      if (value > 1) throw cursor.fail('GGUF_INVALID', `a boolean is ${value}, neither 0 nor 1`, key);
      return value === 1;
    }
    case 8:
      return cursor.string(key);
    case ARRAY_TYPE: {
      if (depth === MAX_ARRAY_DEPTH) {
        throw cursor.fail('GGUF_INVALID', `arrays are nested more than ${MAX_ARRAY_DEPTH} deep`, key);
      }
      const itemType = await cursor.u32(`the item type of ${key}`);
      const itemBytes = VALUE_BYTES[itemType];
      if (itemBytes === undefined) {
        throw cursor.fail('GGUF_INVALID', `value type ${itemType} is not known`, key);
      }
      const length = await cursor.count(`the length of ${key}`, itemBytes, MAX_ARRAY);
      const items: GgufValue[] = [];
      for (let i = 0; i < length; i++) items.push(await readValue(cursor, itemType, key, depth + 1));
      return items;
    }
    case 10:
      return narrow(await cursor.u64(key));
    case 11:
      return narrow(await cursor.i64(key));
    case 12:
      return cursor.f64(key);
    default:
      throw cursor.fail('GGUF_INVALID', `value type ${type} is not known`, key);
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function readAlignment(cursor: GgufCursor, metadata: ReadonlyMap<string, GgufValue>): number {
  const alignment = metadata.get('general.alignment') ?? 32;
  const valid = typeof alignment === 'number' && Number.isInteger(alignment) && alignment >= 1;
  if (!valid || alignment > MAX_ALIGNMENT || !Number.isInteger(Math.log2(alignment))) {
    throw cursor.fail(
      'GGUF_INVALID',
      `the alignment is ${alignment}, not a power of two up to ${MAX_ALIGNMENT}`,
      'general.alignment',
    );
  }
  return alignment;
}

async function readTensorRecord(cursor: GgufCursor, index: number): Promise<TensorRecord> {
  const name = await cursor.string(`the name of tensor ${index}`);
  const dimensions = await cursor.u32(`the number of dimensions of ${name}`);
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
    throw cursor.fail(
      'GGUF_INVALID',
      `the tensor has ${dimensions} dimensions; 1 to ${MAX_DIMENSIONS} exist`,
      name,
    );
  }
  const sizes: bigint[] = [];
  for (let i = 0; i < dimensions; i++) sizes.push(await cursor.u64(`dimension ${i} of ${name}`));
  const typeNumber = await cursor.u32(`the type of ${name}`);
  const offset = await cursor.u64(`the offset of ${name}`);
  const type = READABLE_TYPES.get(typeNumber);
  if (type === undefined) {
    const readable = [...READABLE_TYPES.values()].map((known) => known.name).join(', ');
    throw cursor.fail(
      'GGUF_TENSOR_TYPE',
      `the tensor is stored as ${describeType(typeNumber)}; readable are ${readable}`,
      name,
    );
  }
  const weights = sizes.reduce((product, size) => product * size, 1n);
  const length = (weights / BigInt(type.weights)) * BigInt(type.bytes);
  if (length > BigInt(cursor.source.size)) {
    throw cursor.fail(
      'GGUF_TRUNCATED',
      `shape [${sizes.join(', ')}] of ${type.name} needs ${length} bytes, the file has ${cursor.source.size}`,
      name,
    );
  }
  if (weights === 0n) {
    throw cursor.fail('GGUF_TENSOR_LAYOUT', `shape [${sizes.join(', ')}] holds no weights`, name);
  }
  if (sizes[0]! % BigInt(type.weights) !== 0n) {
    throw cursor.fail(
      'GGUF_TENSOR_LAYOUT',
      `rows of ${sizes[0]} weights are not whole ${type.name} blocks of ${type.weights}`,
      name,
    );
  }
  return { name, shape: sizes.map(Number).reverse(), type, offset, length: Number(length) };
}

/** Tensors must follow each other in the data, each padded to the alignment, and end inside the file. */
function placeTensors(
  cursor: GgufCursor,
  records: readonly TensorRecord[],
  alignment: number,
): Map<string, GgufTensor> {
  const pad = (offset: number): number => Math.ceil(offset / alignment) * alignment;
  const base = pad(cursor.offset);
  const tensors = new Map<string, GgufTensor>();
  const sorted = [...records].sort((a, b) => (a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : 0));
  let end = 0;
  for (const { name, shape, type, offset, length } of sorted) {
    if (tensors.has(name)) throw cursor.fail('GGUF_DUPLICATE', 'the tensor name occurs twice', name);
    if (offset !== BigInt(pad(end))) {
      throw cursor.fail(
        'GGUF_TENSOR_LAYOUT',
        `the tensor lies at byte ${offset} of the data; ${pad(end)} follows from the tensors before it`,
        name,
      );
    }
    end = pad(end) + length;
    if (base + end > cursor.source.size) {
      throw cursor.fail(
        'GGUF_TRUNCATED',
        `the tensor ends at byte ${base + end}, the file has ${cursor.source.size} bytes`,
        name,
      );
    }
    tensors.set(name, { name, shape, type, offset: base + end - length, length });
  }
  return tensors;
}
