// ONNX Runtime's MatMulNBits: one row times 2- or 4-bit weights, as a chain of products in one graph, so that the cost
// of a call from JavaScript is spread over all of them.
import { initializer, MICROSOFT, model, node, TYPE } from './onnx-protobuf.mjs';
import { requirePeer } from './setup.mjs';

/** Weights that share a scale; ONNX Runtime's 2-bit kernels want 64 or more. */
const BLOCK = 64;
/** 4: activations are quantized to 8 bits for each block, which is what the fast kernels do. */
const ACCURACY_LEVEL = 4;
const CHAIN = 64;

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
      initializer(`codes${i}`, TYPE.uint8, [rows, blocks, (BLOCK * bits) / 8], codes),
      initializer(`scales${i}`, TYPE.float, [rows, blocks], scales),
    ];
  });
  const nodes = Array.from({ length: CHAIN }, (_, step) => {
    const i = step % shapes.length;
    const { rows, columns } = shapes[i];
    const attributes = { K: columns, N: rows, bits, block_size: BLOCK, accuracy_level: ACCURACY_LEVEL };
    const inputs = [`x${step}`, `codes${i}`, `scales${i}`];
    return node('MatMulNBits', inputs, [`x${step + 1}`], attributes, MICROSOFT);
  });
  const value = (name, columns) => ({ name, type: TYPE.float, shape: [1, columns] });
  return model({
    name: 'chain',
    nodes,
    initializers,
    inputs: [value('x0', shapes[0].columns)],
    outputs: [value(`x${CHAIN}`, shapes.at(-1).rows)],
  });
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
