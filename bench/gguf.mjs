// Writes a checkpoint as a GGUF file in F16 (norms in F32), so that llama.cpp gets the very weights that ours are
// quantized from. Layout: ggml/docs/gguf.md, version 3. The tokenizer's metadata is copied byte for byte from another
// GGUF file; the architecture is written anew.
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { f32ToF16 } from '@duobit/format';

const ALIGNMENT = 32;
/** Rows converted at a time. */
const ROWS = 1024;
const F32 = 0;
const F16 = 1;

const OUTSIDE = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
};

const IN_BLOCK = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

/** The name that llama.cpp gives a tensor of the Llama family. */
export function toGgufName(name) {
  if (Object.hasOwn(OUTSIDE, name)) return OUTSIDE[name];
  const [, block, part] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
  if (block === undefined || !Object.hasOwn(IN_BLOCK, part)) {
    throw new Error(`${name} is no tensor of the Llama family`);
  }
  return `blk.${block}.${IN_BLOCK[part]}.weight`;
}

const u32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const f32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};
const text = (value) => {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
};

/** Metadata values with their type numbers in front. */
export const field = {
  u32: (value) => Buffer.concat([u32(4), u32(value)]),
  f32: (value) => Buffer.concat([u32(6), f32(value)]),
  string: (value) => Buffer.concat([u32(8), text(value)]),
  strings: (values) => Buffer.concat([u32(9), u32(8), u64(values.length), ...values.map(text)]),
  i32s: (values) => Buffer.concat([u32(9), u32(5), u64(values.length), ...values.map((value) => u32(value))]),
};

/** The metadata pairs [key, bytes] that describe a plain Llama to llama.cpp; `type` is that of most tensors, as its quantizer numbers them. */
export function describeArchitecture(architecture, name, type = F16) {
  for (const feature of ['ropeScaling', 'slidingWindow']) {
    if (architecture[feature] !== null) {
      throw new Error(`${name} has a ${feature}, which this writer does not put into GGUF files`);
    }
  }
  const counts = {
    context_length: architecture.contextLength,
    embedding_length: architecture.hiddenSize,
    block_count: architecture.blockCount,
    feed_forward_length: architecture.intermediateSize,
    'attention.head_count': architecture.headCount,
    'attention.head_count_kv': architecture.kvHeadCount,
    'attention.key_length': architecture.headSize,
    'attention.value_length': architecture.headSize,
    'rope.dimension_count': architecture.headSize,
    vocab_size: architecture.vocabularySize,
  };
  return [
    ['general.architecture', field.string('llama')],
    ['general.name', field.string(name)],
    ['general.file_type', field.u32(type)],
    ...Object.entries(counts).map(([key, value]) => [`llama.${key}`, field.u32(value)]),
    ['llama.rope.freq_base', field.f32(architecture.ropeTheta)],
    ['llama.attention.layer_norm_rms_epsilon', field.f32(architecture.normEpsilon)],
  ];
}

/**
 * Row of the source that becomes row `row` of a query or key matrix: llama.cpp's rotary kernel wants the two entries of
 * a pair beside each other, where Hugging Face's keep half a head apart.
 */
export function interleavedRow(row, headSize) {
  const inHead = row % headSize;
  return row - inHead + (inHead % 2) * (headSize / 2) + (inHead >> 1);
}

/** Rows [start, end) of a tensor as GGUF stores them. `start` and `end` are multiples of the head size for q and k. */
async function encodeRows(checkpoint, name, start, end) {
  const { shape } = checkpoint.tensorInfo(name);
  const values = await checkpoint.readRows(name, start, end);
  if (shape.length === 1) return Buffer.from(values.buffer);
  const columns = shape[1];
  const headSize = checkpoint.architecture.headSize;
  const isRotated = /\.self_attn\.[qk]_proj\.weight$/.test(name);
  const half = new Uint16Array(values.length);
  for (let row = 0; row < end - start; row += 1) {
    const from = (isRotated ? interleavedRow(row, headSize) : row) * columns;
    for (let column = 0; column < columns; column += 1) {
      half[row * columns + column] = f32ToF16(values[from + column]);
    }
  }
  return Buffer.from(half.buffer);
}

/**
 * Writes the checkpoint to `file` (by way of a temporary file, so that an interrupted run leaves none).
 * @param tokenizerFields pairs [key, bytes] as `readGgufFields` gives them
 */
export async function exportGguf(checkpoint, file, tokenizerFields = []) {
  const { architecture, name, tensorNames } = checkpoint;
  const fields = [...describeArchitecture(architecture, name), ...tokenizerFields];
  const tensors = tensorNames.map((tensor) => {
    const { shape } = checkpoint.tensorInfo(tensor);
    const type = shape.length === 1 ? F32 : F16;
    const length = shape.reduce((product, size) => product * size, 1) * (type === F16 ? 2 : 4);
    return { name: toGgufName(tensor), shape, type, length, pieces: () => encodePieces(checkpoint, tensor) };
  });
  await writeGguf(file, fields, tensors);
}

async function* encodePieces(checkpoint, name) {
  const { shape } = checkpoint.tensorInfo(name);
  const rows = shape.length === 1 ? 1 : shape[0];
  const { headSize } = checkpoint.architecture;
  const step = Math.max(headSize, ROWS - (ROWS % headSize));
  for (let start = 0; start < rows; start += step)
    yield await encodeRows(checkpoint, name, start, Math.min(rows, start + step));
}

/**
 * Writes a GGUF file by way of a temporary one.
 * @param fields pairs [key, bytes]
 * @param tensors {name, shape as rows and columns, type number, length in bytes, pieces() that gives its bytes one after another}
 */
export async function writeGguf(file, fields, tensors) {
  const records = [];
  let offset = 0;
  for (const { name, shape, type, length } of tensors) {
    records.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(type), u64(offset));
    offset = pad(offset + length);
  }
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(fields.length),
    ...fields.flatMap(([key, bytes]) => [text(key), bytes]),
    ...records,
  ]);

  await mkdir(path.dirname(file), { recursive: true });
  const part = `${file}.${process.pid}.part`;
  const out = createWriteStream(part);
  // Kept aside so that an error between two writes is thrown by the next, not uncaught.
  const ended = finished(out);
  ended.catch(() => {});
  const write = async (bytes) => {
    if (!out.write(bytes)) await Promise.race([once(out, 'drain'), ended]);
  };
  try {
    await write(head);
    await write(Buffer.alloc(pad(head.length) - head.length));
    for (const { name, length, pieces } of tensors) {
      let written = 0;
      for await (const bytes of pieces()) {
        written += bytes.length;
        await write(bytes);
      }
      if (written !== length) throw new Error(`${name} has ${written} bytes, and its type takes ${length}`);
      await write(Buffer.alloc(pad(length) - length));
    }
    out.end();
    await ended;
    await rename(part, file);
  } catch (error) {
    out.destroy();
    await rm(part, { force: true });
    throw error;
  }
}

function pad(length) {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}
