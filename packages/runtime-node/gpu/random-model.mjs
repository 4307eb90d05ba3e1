// Models of a given shape with random weights, made as they are read: for speed, which does not depend on what weights say.
import { randomFillSync } from 'node:crypto';
import { encodedPlaneLengths, listModelTensors } from '@duobit/format';

const LLAMA3 = {
  family: 'llama',
  vocabularySize: 128_256,
  kvHeadCount: 8,
  contextLength: 8192,
  normEpsilon: 1e-5,
  ropeTheta: 500_000,
  ropeScaling: null,
  slidingWindow: null,
};

/** tiny is for trying this without a GPU; SmolLM2-135M, Llama 3.2 1B and 3B, Llama 3.1 8B. */
export const SHAPES = {
  tiny: {
    ...LLAMA3,
    vocabularySize: 512,
    hiddenSize: 128,
    intermediateSize: 256,
    blockCount: 1,
    headCount: 4,
    kvHeadCount: 2,
    headSize: 32,
    tiedHead: false,
  },
  smollm2: {
    ...LLAMA3,
    vocabularySize: 49_152,
    hiddenSize: 576,
    intermediateSize: 1536,
    blockCount: 30,
    headCount: 9,
    kvHeadCount: 3,
    headSize: 64,
    ropeTheta: 100_000,
    tiedHead: true,
  },
  '1B': {
    ...LLAMA3,
    hiddenSize: 2048,
    intermediateSize: 8192,
    blockCount: 16,
    headCount: 32,
    headSize: 64,
    tiedHead: true,
  },
  '3B': {
    ...LLAMA3,
    hiddenSize: 3072,
    intermediateSize: 8192,
    blockCount: 28,
    headCount: 24,
    headSize: 128,
    tiedHead: true,
  },
  '8B': {
    ...LLAMA3,
    hiddenSize: 4096,
    intermediateSize: 14_336,
    blockCount: 32,
    headCount: 32,
    headSize: 128,
    tiedHead: false,
  },
};

const ENCODINGS = {
  linear: { kind: 'w11', groupSize: 128, offsets: true },
  embedding: { kind: 'int8', groupSize: 64 },
  head: { kind: 'int8', groupSize: 64 },
  norm: { kind: 'f32' },
};
const QUANTIZER = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

/** Bytes that all planes are cut from; an odd length, so that no two begin alike. */
const POOL = (32 << 20) + 4096;

export function makeRandomModel(shape) {
  const architecture = SHAPES[shape];
  const specs = new Map(listModelTensors(architecture).map((spec) => [spec.name, spec]));
  // No code is -128.
  const bits = randomFillSync(new Uint8Array(POOL)).map((byte) => (byte === 0x80 ? 0x81 : byte));
  const halves = new Map();
  let turn = 0;
  const cut = (pool, length) => {
    const out = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const from = (turn = (turn + 1_048_573 * 4) % (POOL - 64)) & ~3;
      const part = pool.subarray(from, from + length - at);
      out.set(part, at);
      at += part.length;
    }
    return out;
  };
  /** f16 between 2^exponent and 2^(exponent + 1); of either sign when `signed`. */
  const halfPool = (exponent, signed) => {
    const key = `${exponent} ${signed}`;
    if (!halves.has(key)) {
      const values = new Uint16Array(POOL / 2);
      randomFillSync(values);
      for (let i = 0; i < values.length; i++)
        values[i] = (values[i] & (signed ? 0x83ff : 0x03ff)) | ((exponent + 15) << 10);
      halves.set(key, new Uint8Array(values.buffer));
    }
    return halves.get(key);
  };
  const info = ({ name, shape: size, kind }) => ({
    name,
    shape: size,
    encoding: ENCODINGS[kind],
    activation: kind === 'linear' ? QUANTIZER : null,
  });
  return {
    name: `random ${shape}`,
    architecture,
    specialTokens: { bos: null, eos: [], pad: null, addBos: false },
    tensorNames: [...specs.keys()],
    tensorInfo: (name) => info(specs.get(name)),
    async readTensor(name) {
      const spec = specs.get(name);
      const { encoding } = info(spec);
      const columns = spec.shape.at(-1);
      const level = -Math.round(Math.log2(columns) / 2) - 1;
      const planes = {};
      for (const [role, length] of Object.entries(encodedPlaneLengths(encoding, spec.shape)))
        if (role === 'dense') planes[role] = new Uint8Array(new Float32Array(columns).fill(1).buffer);
        else if (role === 'scale') planes[role] = cut(halfPool(Math.max(-14, level - 6), false), length);
        else if (role === 'alpha' || role === 'mu')
          planes[role] = cut(halfPool(level - (role === 'mu' ? 2 : 0), role === 'mu'), length);
        else planes[role] = cut(bits, length);
      return { info: info(spec), planes };
    },
    readAsset: async () => null,
    close: async () => {},
  };
}
