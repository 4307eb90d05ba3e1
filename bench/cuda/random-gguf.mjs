// GGUF files of a given shape with random weights, in the types that llama.cpp's quantizer gives a Q4_0 file: Q4_0, the output matrix in
// Q6_K, or in Q8_0 where rows are no multiple of 256. Scales keep activations near 1. There is no vocabulary: prompts are tokens.
import { randomFillSync } from 'node:crypto';
import { f32ToF16, listModelTensors } from '@duobit/format';
import { describeArchitecture, field, toGgufName, writeGguf } from '../gguf.mjs';

const F32 = { type: 0, block: 1, bytes: 4 };
/** Weights and bytes of a block, where its f16 scale is, and the root of the mean square of random weights whose scale is 1. */
const Q4_0 = { type: 2, block: 32, bytes: 18, scaleAt: 0, deviation: 4.64 };
const Q8_0 = { type: 8, block: 32, bytes: 34, scaleAt: 0, deviation: 73.9 };
/** Sixteen scales of eight bits below the block's own. */
const Q6_K = { type: 14, block: 256, bytes: 210, scaleAt: 208, deviation: 73.9 * 18.5 };

/** Bytes of random blocks that all tensors of a type and size of rows are cut from. */
const POOL = 32 << 20;

export async function writeRandomGguf(architecture, file) {
  const pools = new Map();
  const tensors = listModelTensors(architecture).map(({ name, shape, kind }) => {
    const columns = shape.at(-1);
    const isOutput = name === (architecture.tiedHead ? 'model.embed_tokens.weight' : 'lm_head.weight');
    const wide = columns % Q6_K.block === 0 ? Q6_K : Q8_0;
    const type = kind === 'norm' ? F32 : isOutput ? wide : Q4_0;
    const length = (shape.reduce((product, size) => product * size, 1) / type.block) * type.bytes;
    const pool = () => {
      const key = `${type.type} ${columns}`;
      if (!pools.has(key)) pools.set(key, makePool(type, columns));
      return pools.get(key);
    };
    return { name: toGgufName(name), shape, type: type.type, length, pieces: () => cut(pool(), length) };
  });
  const fields = describeArchitecture(architecture, 'random weights', Q4_0.type);
  fields.push(['tokenizer.ggml.model', field.string('no_vocab')]);
  await writeGguf(file, fields, tensors);
}

function makePool({ type, bytes, scaleAt, deviation }, columns) {
  if (type === F32.type) return Buffer.from(new Float32Array(columns).fill(1).buffer);
  const pool = Buffer.alloc(POOL - (POOL % bytes));
  randomFillSync(pool);
  const scale = f32ToF16(1 / (deviation * Math.sqrt(columns)));
  for (let at = scaleAt; at < pool.length; at += bytes) pool.writeUInt16LE(scale, at);
  return pool;
}

function* cut(pool, length) {
  for (let left = length; left > 0; left -= pool.length)
    yield left < pool.length ? pool.subarray(0, left) : pool;
}
