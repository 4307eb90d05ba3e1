// The two ways in which onnx-llama.mjs stores matrices, under transformers.js' names for them: q4, blocks of 4 bits in
// MatMulNBits, and q8, rows of 8 bits in DynamicQuantizeMatMul, which rounds its inputs to 8 bits. Each has the functions
// that a graph needs: a product with matrices, the embedding, and the head that is tied to it; `group` and `bitsOf` say of
// a row's length how many weights share a scale, and what a weight takes with everything included.
import { MICROSOFT, TYPE } from './onnx-protobuf.mjs';

/** Weights of a row that share a scale, as transformers.js' converter has it. */
export const BLOCK = 32;
/**
 * Of MatMulNBits: 4 lets it round inputs to 8 bits, which is what its fast kernels for processors do; its WebAssembly has
 * none of them and is as fast at any level. 1 is single precision.
 */
const ACCURACY_LEVEL = 4;

/**
 * Rounds to 4 or 8 bits as ONNX Runtime's quantizer does when it is symmetric: of each group, the value of the greatest
 * magnitude becomes code 0, which is -8 or -128 scales.
 * @param values row-major, in groups of `group` beside each other
 * @returns {{codes: Uint8Array, scales: Float32Array}} a code a value; a scale a group
 */
export function roundValues(values, bits, group) {
  const zero = 2 ** (bits - 1);
  const codes = new Uint8Array(values.length);
  const scales = new Float32Array(values.length / group);
  for (let i = 0; i < scales.length; i += 1) {
    const start = i * group;
    let extreme = 0;
    for (let at = start; at < start + group; at += 1) {
      if (Math.abs(values[at]) > Math.abs(extreme)) extreme = values[at];
    }
    scales[i] = extreme / -zero;
    for (let at = start; at < start + group; at += 1) {
      const steps = scales[i] === 0 ? 0 : Math.round(values[at] / scales[i]);
      codes[at] = Math.min(2 * zero - 1, steps + zero);
    }
  }
  return { codes, scales };
}

/** What `roundValues` made, as values again. */
export function decodeValues({ codes, scales }, bits) {
  const group = codes.length / scales.length;
  return Float32Array.from(codes, (code, i) => (code - 2 ** (bits - 1)) * scales[Math.floor(i / group)]);
}

/** Two 4-bit codes a byte, the earlier in the low half. */
export function packNibbles(codes) {
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i] | (codes[2 * i + 1] << 4));
}

/** Columns beside each other that were rows. */
function transpose(codes, rows, columns) {
  const turned = new Uint8Array(codes.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      turned[column * rows + row] = codes[row * columns + column];
    }
  }
  return turned;
}

function addEmbedding(graph, values, bits, output) {
  const { vocabularySize, hiddenSize } = graph.architecture;
  const { codes, scales } = roundValues(values, bits, BLOCK);
  const packed = bits === 4 ? packNibbles(codes) : codes;
  graph.addConstant('embedding.codes', TYPE.uint8, [vocabularySize, (hiddenSize * bits) / 8], packed);
  graph.addConstant('embedding.scales', TYPE.float, [vocabularySize, hiddenSize / BLOCK], scales);
  const attributes = { gather_axis: 0, quantize_axis: 1, block_size: BLOCK, bits };
  const inputs = ['embedding.codes', 'input_ids', 'embedding.scales'];
  graph.add('GatherBlockQuantized', inputs, [output], attributes, MICROSOFT);
}

function makeQ4(accuracyLevel) {
  const addProduct = (graph, input, codes, scales, rows, columns, output) => {
    const attributes = { K: columns, N: rows, bits: 4, block_size: BLOCK, accuracy_level: accuracyLevel };
    graph.add('MatMulNBits', [input, codes, scales], [output], attributes, MICROSOFT);
  };
  return {
    bits: 4,
    group: () => BLOCK,
    bitsOf: () => 4 + 32 / BLOCK,
    addMatrix(graph, input, values, rows, columns, output) {
      const { codes, scales } = roundValues(values, 4, BLOCK);
      const shape = [rows, columns / BLOCK, BLOCK / 2];
      graph.addConstant(`${output}.codes`, TYPE.uint8, shape, packNibbles(codes));
      graph.addConstant(`${output}.scales`, TYPE.float, [rows, columns / BLOCK], scales);
      addProduct(graph, input, `${output}.codes`, `${output}.scales`, rows, columns, output);
    },
    addEmbedding: (graph, values, output) => addEmbedding(graph, values, 4, output),
    /** The embedding's own codes, in the shape that a product wants. */
    addHead(graph, input, _, output) {
      const { vocabularySize, hiddenSize } = graph.architecture;
      const shape = BigInt64Array.from([vocabularySize, hiddenSize / BLOCK, BLOCK / 2], BigInt);
      graph.addConstant('head.shape', TYPE.int64, [3], shape);
      graph.add('Reshape', ['embedding.codes', 'head.shape'], ['head.codes']);
      addProduct(graph, input, 'head.codes', 'embedding.scales', vocabularySize, hiddenSize, output);
    },
  };
}

const q8 = {
  bits: 8,
  group: (columns) => columns,
  bitsOf: (columns) => 8 + (32 + 8) / columns,
  addMatrix(graph, input, values, rows, columns, output) {
    const { codes, scales } = roundValues(values, 8, columns);
    graph.addConstant(`${output}.codes`, TYPE.uint8, [columns, rows], transpose(codes, rows, columns));
    graph.addConstant(`${output}.scales`, TYPE.float, [rows], scales);
    graph.addConstant(`${output}.zeros`, TYPE.uint8, [rows], new Uint8Array(rows).fill(128));
    const inputs = [input, `${output}.codes`, `${output}.scales`, `${output}.zeros`];
    graph.add('DynamicQuantizeMatMul', inputs, [output], {}, MICROSOFT);
  },
  addEmbedding: (graph, values, output) => addEmbedding(graph, values, 8, output),
  /** A copy, since a product wants columns beside each other that the embedding has as rows. */
  addHead(graph, input, values, output) {
    const { vocabularySize, hiddenSize } = graph.architecture;
    q8.addMatrix(graph, input, values, vocabularySize, hiddenSize, output);
  },
};

/** By transformers.js' dtype; `q4 exact` is q4 with inputs in single precision, for comparison with other code. */
export const WEIGHTS = { q4: makeQ4(ACCURACY_LEVEL), 'q4 exact': makeQ4(1), q8 };
