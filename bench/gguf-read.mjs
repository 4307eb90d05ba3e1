// Skims a GGUF file: metadata pairs as the bytes they are, and the table of tensors with the bytes each takes. Unlike
// the quantizer's reader it needs to know no tensor type, so it can say what llama.cpp's quantizer wrote.
import { open } from 'node:fs/promises';

/** Bytes of each metadata type by number; 8 is a string, 9 an array. */
const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, null, null, 8, 8, 8];
const STRING = 8;
const ARRAY = 9;

/** ggml's type numbers, for the types that the comparison's files hold. */
const TYPE_NAMES = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  41: 'Q1_0',
  42: 'Q2_0',
};

class Cursor {
  constructor(bytes, file) {
    this.bytes = bytes;
    this.file = file;
    this.at = 0;
  }

  /** Moves over `length` bytes and gives where they begin. */
  take(length) {
    const start = this.at;
    if (start + length > this.bytes.length) throw new Error(`${this.file}: the header ends at byte ${start}`);
    this.at += length;
    return start;
  }

  u32() {
    return this.bytes.readUInt32LE(this.take(4));
  }

  u64() {
    return Number(this.bytes.readBigUInt64LE(this.take(8)));
  }

  text() {
    const length = this.u64();
    const start = this.take(length);
    return this.bytes.toString('utf8', start, start + length);
  }

  skipValue(type) {
    if (type === STRING) this.take(this.u64());
    else if (type === ARRAY) {
      const item = this.u32();
      const count = this.u64();
      if (item === STRING || item === ARRAY) for (let i = 0; i < count; i += 1) this.skipValue(item);
      else this.take(count * this.sizeOf(item));
    } else this.take(this.sizeOf(type));
  }

  sizeOf(type) {
    const size = SIZES[type];
    if (typeof size !== 'number') throw new Error(`${this.file}: metadata type ${type} is not known`);
    return size;
  }
}

/** Pairs [key, bytes] (type number and value) and tensors {name, shape, weights, type, bytes} of a GGUF file. */
export async function skimGguf(file) {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    // Vocabularies of 200,000 tokens with their merges take under 20 MB.
    const head = Buffer.alloc(Math.min(size, 64 * 2 ** 20));
    await handle.read(head, 0, head.length, 0);
    return readHead(new Cursor(head, file), size);
  } finally {
    await handle.close();
  }
}

function readHead(cursor, size) {
  const start = cursor.take(4);
  if (cursor.bytes.toString('latin1', start, start + 4) !== 'GGUF')
    throw new Error(`${cursor.file} is no GGUF file`);
  const version = cursor.u32();
  if (version !== 2 && version !== 3) throw new Error(`${cursor.file}: GGUF version ${version} is not known`);
  const tensorCount = cursor.u64();
  const fieldCount = cursor.u64();
  const fields = [];
  let alignment = 32;
  for (let i = 0; i < fieldCount; i += 1) {
    const key = cursor.text();
    const from = cursor.at;
    cursor.skipValue(cursor.u32());
    const bytes = cursor.bytes.subarray(from, cursor.at);
    if (key === 'general.alignment') alignment = bytes.readUInt32LE(4);
    fields.push([key, bytes]);
  }
  const tensors = [];
  for (let i = 0; i < tensorCount; i += 1) {
    const name = cursor.text();
    const shape = Array.from({ length: cursor.u32() }, () => cursor.u64()).reverse();
    const type = cursor.u32();
    tensors.push({ name, shape, type: TYPE_NAMES[type] ?? `type ${type}`, offset: cursor.u64() });
  }
  const base = Math.ceil(cursor.at / alignment) * alignment;
  const starts = [...tensors.map(({ offset }) => offset), size - base].sort((a, b) => a - b);
  return {
    fields,
    tensors: tensors.map(({ name, shape, type, offset }) => ({
      name,
      shape,
      type,
      weights: shape.reduce((product, length) => product * length, 1),
      // Up to the next tensor: with the padding, of at most 31 bytes.
      bytes: starts.find((next) => next > offset) - offset,
    })),
  };
}

/** The metadata pairs whose keys begin with `prefix`. */
export async function readGgufFields(file, prefix) {
  return (await skimGguf(file)).fields.filter(([key]) => key.startsWith(prefix));
}

/** Weights by tensor type, and bits a weight in the linear layers of the blocks: what a file really holds. */
export async function describeGguf(file) {
  const { tensors } = await skimGguf(file);
  const types = {};
  let weights = 0;
  let linearWeights = 0;
  let linearBytes = 0;
  for (const tensor of tensors) {
    weights += tensor.weights;
    if (tensor.shape.length < 2) continue;
    types[tensor.type] = (types[tensor.type] ?? 0) + tensor.weights;
    if (tensor.name.startsWith('blk.')) {
      linearWeights += tensor.weights;
      linearBytes += tensor.bytes;
    }
  }
  return { types, weights, linearBitsPerWeight: (8 * linearBytes) / linearWeights };
}
