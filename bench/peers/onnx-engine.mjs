// The ONNX file of onnx-llama.mjs in ONNX Runtime for Node: for its perplexity, and to check the file against ours.
// Speed is measured in Chromium, where transformers.js runs it.
import { requirePeer } from './setup.mjs';

export async function prepareEngine() {
  const ort = requirePeer('onnxruntime-node');
  return { describe: () => null, open: (options) => OnnxEngine.open(ort, options) };
}

class OnnxEngine {
  #ort;
  #session;
  #past = {};
  #length = 0;

  /** @param file path or bytes of a model */
  static async open(ort, { file, threads }) {
    const session = await ort.InferenceSession.create(file, { intraOpNumThreads: threads });
    return new OnnxEngine(ort, session, threads);
  }

  constructor(ort, session, threads) {
    this.#ort = ort;
    this.#session = session;
    this.threads = threads;
  }

  /** Runs tokens after those before them. @returns logits of the last `kept` of them, row-major */
  async run(tokens, kept) {
    const { Tensor } = this.#ort;
    this.#length += tokens.length;
    const feeds = {
      ...this.#past,
      input_ids: new Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]),
      attention_mask: new Tensor('int64', new BigInt64Array(this.#length).fill(1n), [1, this.#length]),
      num_logits_to_keep: new Tensor('int64', BigInt64Array.of(BigInt(kept)), []),
    };
    const { logits, ...present } = await this.#session.run(feeds);
    this.#past = Object.fromEntries(
      Object.entries(present).map(([name, value]) => [name.replace('present', 'past_key_values'), value]),
    );
    return logits.data;
  }

  /** Forgets every token. */
  clear() {
    this.#length = 0;
    for (const { name, type, shape } of this.#session.inputMetadata) {
      if (!name.startsWith('past_key_values')) continue;
      const [, heads, , size] = shape;
      this.#past[name] = new this.#ort.Tensor(type, new Float32Array(0), [1, heads, 0, size]);
    }
  }

  /** Sum of `lossOf(logits, next token)` over a window that starts from an empty cache. */
  async windowLoss(tokens, lossOf) {
    this.clear();
    const rows = tokens.length - 1;
    const logits = await this.run(tokens.slice(0, rows), rows);
    const width = logits.length / rows;
    let sum = 0;
    for (let row = 0; row < rows; row += 1) {
      sum += lossOf(logits.subarray(row * width, (row + 1) * width), tokens[row + 1]);
    }
    return sum;
  }

  async close() {
    await this.#session.release();
  }
}
