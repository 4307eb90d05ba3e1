// A checkpoint of the Llama family as an ONNX file for transformers.js, in the layout of ONNX Runtime's own exporter (the
// model builder of onnxruntime-genai): attention with its rotary embedding and cache in GroupQueryAttention, query, key and
// value as one product, norms joined with the sums before them. How matrices are stored: onnx-weights.mjs.
import { initializer, MICROSOFT, model, node, TYPE } from './onnx-protobuf.mjs';
import { BLOCK, WEIGHTS } from './onnx-weights.mjs';

/** The end of a slice that has none. */
const LAST = 2n ** 62n;
const EMBEDDING = 'model.embed_tokens.weight';

/**
 * Builds the file. Inputs: input_ids, attention_mask, num_logits_to_keep (0 is all), past_key_values.N.key and .value;
 * outputs: logits, present.N.key and .value.
 * @param weights a key of WEIGHTS
 * @returns {Promise<Buffer>}
 */
export async function buildOnnxLlama(checkpoint, weights) {
  const { architecture } = checkpoint;
  requirePlain(architecture, checkpoint.name);
  const { blockCount, headSize, kvHeadCount, vocabularySize } = architecture;
  const graph = new Graph(checkpoint, WEIGHTS[weights]);
  await graph.addAll();

  const cache = (prefix, positions) =>
    Array.from({ length: blockCount }, (_, block) =>
      ['key', 'value'].map((part) => ({
        name: `${prefix}.${block}.${part}`,
        type: TYPE.float,
        shape: ['batch_size', kvHeadCount, positions, headSize],
      })),
    ).flat();
  const ids = (name, length) => ({ name, type: TYPE.int64, shape: ['batch_size', length] });
  return model({
    name: 'llama',
    nodes: graph.nodes,
    initializers: graph.initializers,
    inputs: [
      ids('input_ids', 'sequence_length'),
      ids('attention_mask', 'total_sequence_length'),
      { name: 'num_logits_to_keep', type: TYPE.int64, shape: [] },
      ...cache('past_key_values', 'past_sequence_length'),
    ],
    outputs: [
      { name: 'logits', type: TYPE.float, shape: ['batch_size', 'kept_length', vocabularySize] },
      ...cache('present', 'total_sequence_length'),
    ],
  });
}

function requirePlain({ ropeScaling, slidingWindow, tiedHead, hiddenSize, intermediateSize }, name) {
  const isWhole = hiddenSize % BLOCK === 0 && intermediateSize % BLOCK === 0;
  if (ropeScaling !== null || slidingWindow !== null || !tiedHead || !isWhole) {
    throw new Error(
      `${name}: only a plain Llama with a tied head, its rows whole blocks, is written to ONNX`,
    );
  }
}

class Graph {
  nodes = [];
  initializers = [];
  #checkpoint;
  #weights;

  constructor(checkpoint, weights) {
    this.#checkpoint = checkpoint;
    this.#weights = weights;
    this.architecture = checkpoint.architecture;
  }

  add(operator, inputs, outputs, attributes, domain) {
    this.nodes.push(node(operator, inputs, outputs, attributes, domain));
  }

  addConstant(name, type, shape, values) {
    this.initializers.push(initializer(name, type, shape, values));
  }

  /** From token ids to the logits of the last num_logits_to_keep of them. */
  async addAll() {
    const embedding = await this.#checkpoint.readF32(EMBEDDING);
    this.#weights.addEmbedding(this, embedding, 'embedded');
    const normed = await this.#addBlocks('embedded');
    this.add('Neg', ['num_logits_to_keep'], ['first']);
    this.addConstant('one', TYPE.int64, [1], BigInt64Array.of(1n));
    this.add('Reshape', ['first', 'one'], ['starts']);
    this.addConstant('ends', TYPE.int64, [1], BigInt64Array.of(LAST));
    this.add('Slice', [normed, 'starts', 'ends', 'one'], ['kept']);
    this.#weights.addHead(this, 'kept', embedding, 'logits');
  }

  /** All blocks and the last norm; gives the name of its result. */
  async #addBlocks(embedded) {
    const { blockCount, normEpsilon } = this.architecture;
    const epsilon = { float: normEpsilon };
    const normOf = (block) =>
      block < blockCount ? `model.layers.${block}.input_layernorm.weight` : 'model.norm.weight';
    this.#addPositions();
    await this.#addVector(normOf(0));
    this.add('SimplifiedLayerNormalization', [embedded, normOf(0)], ['normed.0'], { epsilon });
    let residual = embedded;
    const addNorm = async (addend, weight, output, isLast) => {
      await this.#addVector(weight);
      const sum = `${output}.sum`;
      // Nobody uses the last sum.
      const outputs = isLast ? [output] : [output, '', '', sum];
      const inputs = [residual, addend, weight];
      this.add('SkipSimplifiedLayerNormalization', inputs, outputs, { epsilon }, MICROSOFT);
      residual = sum;
    };
    for (let block = 0; block < blockCount; block += 1) {
      await this.#addAttention(block, `normed.${block}`, `attended.${block}`);
      const between = `model.layers.${block}.post_attention_layernorm.weight`;
      await addNorm(`attended.${block}`, between, `between.${block}`, false);
      await this.#addMlp(block, `between.${block}`, `mlp.${block}`);
      await addNorm(`mlp.${block}`, normOf(block + 1), `normed.${block + 1}`, block + 1 === blockCount);
    }
    return `normed.${blockCount}`;
  }

  async #addVector(name) {
    const values = await this.#checkpoint.readF32(name);
    this.addConstant(name, TYPE.float, [values.length], values);
  }

  /** Matrices one under the other times `input`. */
  async #addMatrices(input, names, output) {
    const matrices = await Promise.all(names.map((name) => this.#checkpoint.readF32(name)));
    const columns = this.#checkpoint.tensorInfo(names[0]).shape[1];
    const joined = new Float32Array(matrices.reduce((sum, { length }) => sum + length, 0));
    let filled = 0;
    for (const values of matrices) {
      joined.set(values, filled);
      filled += values.length;
    }
    this.#weights.addMatrix(this, input, joined, joined.length / columns, columns, output);
  }

  /** What every block's attention is told of positions: the lengths, and cosines and sines of all of them. */
  #addPositions() {
    const { contextLength, headSize, ropeTheta } = this.architecture;
    const half = headSize / 2;
    const angles = Float64Array.from(
      { length: contextLength * half },
      (_, i) => Math.floor(i / half) * ropeTheta ** (-(i % half) / half),
    );
    this.addConstant('cosines', TYPE.float, [contextLength, half], Float32Array.from(angles, Math.cos));
    this.addConstant('sines', TYPE.float, [contextLength, half], Float32Array.from(angles, Math.sin));
    this.addConstant('axis1', TYPE.int64, [1], BigInt64Array.of(1n));
    this.addConstant('index1', TYPE.int64, [], BigInt64Array.of(1n));
    this.add('ReduceSum', ['attention_mask', 'axis1'], ['lengths'], { keepdims: 0 });
    this.add('Sub', ['lengths', 'index1'], ['lengths.last']);
    this.add('Cast', ['lengths.last'], ['lengths.int32'], { to: TYPE.int32 });
    this.add('Shape', ['attention_mask'], ['mask.shape']);
    this.add('Gather', ['mask.shape', 'index1'], ['total']);
    this.add('Cast', ['total'], ['total.int32'], { to: TYPE.int32 });
  }

  async #addAttention(block, input, output) {
    const { headCount, kvHeadCount } = this.architecture;
    const prefix = `model.layers.${block}.self_attn`;
    const names = ['q', 'k', 'v'].map((part) => `${prefix}.${part}_proj.weight`);
    await this.#addMatrices(input, names, `qkv.${block}`);
    const past = ['key', 'value'].map((part) => `past_key_values.${block}.${part}`);
    const present = ['key', 'value'].map((part) => `present.${block}.${part}`);
    this.add(
      'GroupQueryAttention',
      [`qkv.${block}`, '', '', ...past, 'lengths.int32', 'total.int32', 'cosines', 'sines'],
      [`heads.${block}`, ...present],
      { num_heads: headCount, kv_num_heads: kvHeadCount, do_rotary: 1, rotary_interleaved: 0 },
      MICROSOFT,
    );
    await this.#addMatrices(`heads.${block}`, [`${prefix}.o_proj.weight`], output);
  }

  async #addMlp(block, input, output) {
    const prefix = `model.layers.${block}.mlp`;
    await this.#addMatrices(input, [`${prefix}.gate_proj.weight`], `gate.${block}`);
    await this.#addMatrices(input, [`${prefix}.up_proj.weight`], `up.${block}`);
    this.add('Sigmoid', [`gate.${block}`], [`sigmoid.${block}`]);
    this.add('Mul', [`gate.${block}`, `sigmoid.${block}`], [`silu.${block}`]);
    this.add('Mul', [`silu.${block}`, `up.${block}`], [`gated.${block}`]);
    await this.#addMatrices(`gated.${block}`, [`${prefix}.down_proj.weight`], output);
  }
}
