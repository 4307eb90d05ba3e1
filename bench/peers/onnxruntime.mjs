// ONNX Runtime's MatMulNBits: one row times 2- or 4-bit weights, as a chain of products in one graph, so that the cost
// of a call from JavaScript is spread over all of them. The graph is written here as protobuf (onnx.proto).
import { requirePeer } from './setup.mjs';

/** Weights that share a scale; ONNX Runtime's 2-bit kernels want 64 or more. */
const BLOCK = 64;
/** 4: activations are quantized to 8 bits for each block, which is what the fast kernels do. */
const ACCURACY_LEVEL = 4;
const CHAIN = 64;
const FLOAT = 1;
const UINT8 = 2;

function varint(value) {
  const bytes = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) => {
  const data = Buffer.from(value);
  return Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);
};
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));

const attribute = (name, value) => message(5, bytes(1, name), number(3, value), number(20, 2));

const tensor = (name, type, dimensions, data) =>
  message(5, ...dimensions.map((size) => number(1, size)), number(2, type), bytes(8, name), bytes(9, data));

const value = (field, name, columns) =>
  message(
    field,
    bytes(1, name),
    message(
      2,
      message(1, number(1, FLOAT), message(2, message(1, number(1, 1)), message(1, number(1, columns)))),
    ),
  );

/**
 * Bytes of codes whose mean is the middle of their range, which stands for zero, and their standard deviation: any other
 * mean would grow along the chain.
 */
const CODES = {
  2: { draw: (random) => 0x55 | (Math.floor(random() * 256) & 0xaa), deviation: 1 },
  4: {
    draw: (random) => ((1 + Math.floor(random() * 15)) << 4) | (1 + Math.floor(random() * 15)),
    deviation: 4.32,
  },
};

/** A graph that runs the shapes in turn, `CHAIN` products in all; the last shape's rows are the first's columns. */
function buildModel(shapes, bits, random) {
  const initializers = shapes.flatMap(({ rows, columns }, i) => {
    const blocks = columns / BLOCK;
    const codes = Uint8Array.from({ length: (rows * columns * bits) / 8 }, () => CODES[bits].draw(random));
    // Keeps the values of a long chain near 1.
    const scales = new Float32Array(rows * blocks).fill(1 / (CODES[bits].deviation * Math.sqrt(columns)));
    return [
      tensor(`codes${i}`, UINT8, [rows, blocks, (BLOCK * bits) / 8], codes),
      tensor(`scales${i}`, FLOAT, [rows, blocks], new Uint8Array(scales.buffer)),
    ];
  });
  const nodes = Array.from({ length: CHAIN }, (_, step) => {
    const i = step % shapes.length;
    return message(
      1,
      bytes(1, `x${step}`),
      bytes(1, `codes${i}`),
      bytes(1, `scales${i}`),
      bytes(2, `x${step + 1}`),
      bytes(4, 'MatMulNBits'),
      attribute('K', shapes[i].columns),
      attribute('N', shapes[i].rows),
      attribute('bits', bits),
      attribute('block_size', BLOCK),
      attribute('accuracy_level', ACCURACY_LEVEL),
      bytes(7, 'com.microsoft'),
    );
  });
  const graph = message(
    7,
    ...nodes,
    bytes(2, 'chain'),
    ...initializers,
    value(11, 'x0', shapes[0].columns),
    value(12, `x${CHAIN}`, shapes.at(-1).rows),
  );
  const opset = (domain, version) => message(8, bytes(1, domain), number(2, version));
  return Buffer.concat([number(1, 10), graph, opset('', 21), opset('com.microsoft', 1)]);
}

/** 10^9 weights a second of a chain of products, over about `seconds`. */
export async function measureChain({ shapes, bits, seconds, random }) {
  const ort = requirePeer('onnxruntime-node');
  const session = await ort.InferenceSession.create(buildModel(shapes, bits, random), {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  const columns = shapes[0].columns;
  const input = new ort.Tensor(
    'float32',
    Float32Array.from({ length: columns }, () => 2 * random() - 1),
    [1, columns],
  );
  const weights =
    (shapes.reduce((sum, shape) => sum + shape.rows * shape.columns, 0) * CHAIN) / shapes.length;
  for (let i = 0; i < 5; i += 1) await session.run({ x0: input });
  const output = await session.run({ x0: input });
  if (!output[`x${CHAIN}`].data.every(Number.isFinite))
    throw new Error('the chain of products is not finite');
  const begun = performance.now();
  let calls = 0;
  while (performance.now() - begun < 1000 * seconds) {
    await session.run({ x0: input });
    calls += 1;
  }
  const rate = (calls * weights) / ((performance.now() - begun) / 1000) / 1e9;
  await session.release();
  return rate;
}
