// llama.cpp as an engine of the benchmark: one file, one context, in the process that calls this.
import { openLlama } from './llama-library.mjs';
import { findLlama } from './setup.mjs';

/** As llama.cpp has it by default: prompts are run in physical batches of 512. */
const MICRO_BATCH = 512;
/** Tokens whose logits are read at once for perplexity. */
const LOGIT_ROWS = 64;

/**
 * Loads the libraries, outside the time that loading a model is given.
 * @returns {{ describe: () => string, hasGpu: () => boolean, open: (options: object) => Promise<object> }}
 */
export async function prepareEngine(from = findLlama()) {
  const { koffi, llama, system } = openLlama(from);
  return {
    describe: () => system,
    hasGpu: () => llama.hasGpu(),
    open: async (options) => new LlamaEngine(koffi, llama, options),
  };
}

class LlamaEngine {
  #koffi;
  #llama;
  #model;
  #context;
  #memory;
  #vocabulary;

  constructor(koffi, llama, { file, threads, contextLength, vocabularySize, gpuLayers = 0 }) {
    this.#koffi = koffi;
    this.#llama = llama;
    this.#vocabulary = vocabularySize;
    this.threads = threads;
    this.#model = llama.loadModel(file, { ...llama.modelDefaults(), n_gpu_layers: gpuLayers });
    if (this.#model === null) throw new Error(`llama.cpp does not load ${file}`);
    const defaults = llama.contextDefaults();
    this.#context = llama.createContext(this.#model, {
      ...defaults,
      n_ctx: contextLength,
      n_batch: contextLength,
      n_ubatch: MICRO_BATCH,
      // Versions before v0.5.0 have no such limit.
      ...('n_outputs_max_per_seq' in defaults && { n_outputs_max_per_seq: 0 }),
      n_threads: threads,
      n_threads_batch: threads,
    });
    if (this.#context === null) throw new Error(`llama.cpp makes no context for ${file}`);
    this.#memory = llama.getMemory(this.#context);
  }

  #run(tokens, wanted) {
    const code = this.#llama.decode(this.#context, {
      n_tokens: tokens.length,
      token: tokens,
      embd: null,
      pos: null,
      n_seq_id: null,
      seq_id: null,
      logits: wanted,
    });
    if (code !== 0) throw new Error(`llama_decode of ${tokens.length} tokens gives ${code}`);
    const logits = this.#llama.logits(this.#context);
    if (logits === null) throw new Error('llama.cpp computed no logits');
    return logits;
  }

  /** Runs a prompt from an empty cache up to the logits of its last token. */
  async prefill(tokens) {
    this.#llama.clearMemory(this.#memory, true);
    this.#run(Int32Array.from(tokens), null);
  }

  /** Runs one token after those before it, up to its logits. */
  async step(token) {
    this.#run(Int32Array.of(token), null);
  }

  /** Sum of `lossOf(logits, next token)` over a window that starts from an empty cache. */
  async windowLoss(tokens, lossOf) {
    this.#llama.clearMemory(this.#memory, true);
    let sum = 0;
    for (let start = 0; start < tokens.length - 1; start += LOGIT_ROWS) {
      const rows = Math.min(LOGIT_ROWS, tokens.length - 1 - start);
      const ids = Int32Array.from(tokens.slice(start, start + rows));
      const pointer = this.#run(ids, new Int8Array(rows).fill(1));
      const logits = new Float32Array(this.#koffi.view(pointer, rows * this.#vocabulary * 4));
      for (let row = 0; row < rows; row += 1) {
        const values = logits.subarray(row * this.#vocabulary, (row + 1) * this.#vocabulary);
        sum += lossOf(values, tokens[start + row + 1]);
      }
    }
    return sum;
  }

  async close() {
    this.#llama.freeContext(this.#context);
    this.#llama.freeModel(this.#model);
  }
}
