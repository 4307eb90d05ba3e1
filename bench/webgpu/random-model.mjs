// Models of a given shape with random weights, held nowhere: planes are views of one pool of random bytes. For speed and memory,
// which do not depend on what weights say.
import { encodedPlaneLengths, listModelTensors } from '@duobit/format';

const LLAMA = {
  family: 'llama',
  vocabularySize: 128_256,
  intermediateSize: 8192,
  kvHeadCount: 8,
  contextLength: 8192,
  normEpsilon: 1e-5,
  ropeTheta: 500_000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: true,
};

export const SHAPES = {
  smollm2: {
    ...LLAMA,
    vocabularySize: 49_152,
    hiddenSize: 576,
    intermediateSize: 1536,
    blockCount: 30,
    headCount: 9,
    kvHeadCount: 3,
    headSize: 64,
  },
  '1B': { ...LLAMA, hiddenSize: 2048, blockCount: 16, headCount: 32, headSize: 64 },
  '3B': { ...LLAMA, hiddenSize: 3072, blockCount: 28, headCount: 24, headSize: 128 },
  '8B': {
    ...LLAMA,
    hiddenSize: 4096,
    intermediateSize: 14_336,
    blockCount: 32,
    headCount: 32,
    headSize: 128,
    tiedHead: false,
  },
  // For machines without a GPU: proves that the script works, nothing else.
  smoke: {
    ...LLAMA,
    vocabularySize: 512,
    hiddenSize: 128,
    intermediateSize: 256,
    blockCount: 2,
    headCount: 2,
    kvHeadCount: 1,
    headSize: 64,
  },
};

const ENCODINGS = {
  linear: { kind: 'w11', groupSize: 128, offsets: true },
  embedding: { kind: 'int8', groupSize: 64 },
  head: { kind: 'int8', groupSize: 64 },
  norm: { kind: 'f32' },
};
const QUANTIZER = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

/** f16 bit patterns of numbers from 2^exponent on, below twice that. */
const f16From = (exponent) => (exponent + 15) << 10;

class PlanePool {
  #bytes = new Uint8Array(0);
  #halves = new Map();

  bytes(length) {
    if (this.#bytes.length < length) {
      const words = new Uint32Array(Math.ceil(length / 4));
      let state = 1;
      for (let i = 0; i < words.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        words[i] = state ^ (state >>> 15);
      }
      this.#bytes = new Uint8Array(words.buffer);
    }
    return this.#bytes.subarray(0, length);
  }

  halves(length, exponent) {
    const known = this.#halves.get(exponent);
    if (known && known.length >= length) return known.subarray(0, length);
    const random = this.bytes(length);
    const words = new Uint16Array(length / 2);
    for (let i = 0; i < words.length; i++)
      words[i] = f16From(exponent) | random[2 * i] | ((random[2 * i + 1] & 3) << 8);
    const bytes = new Uint8Array(words.buffer);
    this.#halves.set(exponent, bytes);
    return bytes;
  }
}

const pool = new PlanePool();

export function randomPlanes(shape, encoding) {
  const columns = shape.at(-1);
  const size = Math.round(-Math.log2(Math.sqrt(columns))) - 1;
  const lengths = encodedPlaneLengths(encoding, shape);
  const make = {
    sign: pool.bytes.bind(pool),
    bitmap: (length) => pool.bytes(length + 64).subarray(64),
    alpha: (length) => pool.halves(length, size),
    mu: (length) => pool.halves(length, size - 2),
    codes: pool.bytes.bind(pool),
    scale: (length) => pool.halves(length, size - 6),
    dense: (length) => new Uint8Array(new Float32Array(length / 4).fill(1).buffer),
  };
  return Object.fromEntries(Object.entries(lengths).map(([role, length]) => [role, make[role](length)]));
}

/** A ModelSource without tokenizer. */
export function createRandomModel(name) {
  const architecture = SHAPES[name];
  const infos = new Map(
    listModelTensors(architecture).map(({ name: tensor, shape, kind }) => [
      tensor,
      { name: tensor, shape, encoding: ENCODINGS[kind], activation: kind === 'linear' ? QUANTIZER : null },
    ]),
  );
  return {
    name: `random ${name}`,
    architecture,
    specialTokens: { bos: null, eos: [], pad: null, addBos: false },
    tensorNames: [...infos.keys()],
    tensorInfo: (tensor) => infos.get(tensor),
    readTensor: async (tensor) => {
      const info = infos.get(tensor);
      return { info, planes: randomPlanes(info.shape, info.encoding) };
    },
    readAsset: async () => null,
    close: async () => {},
  };
}
