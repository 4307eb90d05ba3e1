// Containers of a given shape with random weights: for speed and memory, which do not depend on what the weights say.
// Planes are filled with random bits, and their levels have the size that keeps activations near 1; no quantizer runs.
import { randomFillSync } from 'node:crypto';
import { createContainerWriter, encodedPlaneLengths, listModelTensors } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';

/** Llama 3.2 in 1B and 3B, with its own vocabulary and tied head. RoPE scaling is left out: it changes no cost. */
export const SHAPES = {
  '1B': { hiddenSize: 2048, blockCount: 16, headCount: 32, headSize: 64 },
  '3B': { hiddenSize: 3072, blockCount: 28, headCount: 24, headSize: 128 },
};

const COMMON = {
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

export const describeShape = (name) => ({ ...COMMON, ...SHAPES[name] });

const ENCODINGS = {
  linear: { kind: 'w11', groupSize: 128, offsets: true },
  embedding: { kind: 'int8', groupSize: 64 },
  head: { kind: 'int8', groupSize: 64 },
  norm: { kind: 'f32' },
};

/**
 * Writes a container of random weights. Columns must be multiples of 32, so that rows have no padding.
 * @param architecture as `describeShape` gives it, or any other of the format
 */
export async function writeRandomContainer(architecture, file) {
  const tensors = listModelTensors(architecture).map(({ name, shape, kind }) => ({
    name,
    shape,
    encoding: ENCODINGS[kind],
    activation:
      kind === 'linear' ? { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } : null,
  }));
  const writer = await createContainerWriter(
    {
      architecture,
      specialTokens: { bos: null, eos: [], pad: null, addBos: false },
      assets: [],
      tensors,
      provenance: {
        producer: 'duobit benchmark',
        sourceName: 'random weights',
        sourceSha256: '0'.repeat(64),
        recipe: '{}',
        calibrationSha256: null,
      },
      metadata: {},
    },
    await createFileSink(file),
  );
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  for (const name of writer.order) await writer.writeTensor(name, drawPlanes(byName.get(name)));
  return writer.finish();
}

function drawPlanes({ shape, encoding }) {
  const columns = shape.at(-1);
  if (columns % 32 !== 0) throw new Error(`${columns} columns are no multiple of 32`);
  const lengths = encodedPlaneLengths(encoding, shape);
  return Object.fromEntries(
    Object.entries(lengths).map(([role, length]) => [role, FILLS[role](length, columns)]),
  );
}

const drawBytes = (length) => randomFillSync(new Uint8Array(length));

/** f16 values between 2^exponent and 2^(exponent + 1), of either sign when `signed`. */
function drawHalves(length, exponent, signed) {
  const bytes = drawBytes(length);
  const halves = new Uint16Array(bytes.buffer);
  const mask = signed ? 0x83ff : 0x03ff;
  const bits = (exponent + 15) << 10;
  for (let i = 0; i < halves.length; i += 1) halves[i] = (halves[i] & mask) | bits;
  return bytes;
}

/** The power of two next below 1 / sqrt(columns), at which a product of values near 1 is near 1. */
const unitExponent = (columns) => Math.floor(-Math.log2(Math.sqrt(columns)));

const FILLS = {
  sign: drawBytes,
  bitmap: drawBytes,
  alpha: (length, columns) => drawHalves(length, unitExponent(columns), false),
  mu: (length, columns) => drawHalves(length, unitExponent(columns) - 3, true),
  codes(length) {
    const bytes = drawBytes(length);
    // -128 is no code.
    for (let i = 0; i < bytes.length; i += 1) if (bytes[i] === 0x80) bytes[i] = 0;
    return bytes;
  },
  // Codes have a standard deviation of 73, about 2^6.
  scale: (length, columns) => drawHalves(length, unitExponent(columns) - 6, false),
  dense: (length) => new Uint8Array(new Float32Array(length / 4).fill(1).buffer),
};
