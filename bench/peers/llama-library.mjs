// llama.cpp's C interface through koffi: the shared libraries that node-llama-cpp ships, called directly, so that no
// JavaScript of theirs stands between the clock and the library. Structures are those of llama.h as of llama.cpp
// v0.5.0 (node-llama-cpp 3.22.1); defaults that are known are checked, so that another layout is refused, not misread.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { llamaFolder, requirePeer } from './setup.mjs';

const MODEL_PARAMS = {
  devices: 'void *',
  tensor_buft_overrides: 'void *',
  n_gpu_layers: 'int32_t',
  split_mode: 'int32_t',
  load_mode: 'int32_t',
  lazy_mode: 'int32_t',
  main_gpu: 'int32_t',
  tensor_split: 'void *',
  progress_callback: 'void *',
  progress_callback_user_data: 'void *',
  kv_overrides: 'void *',
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
};

const CONTEXT_PARAMS = {
  n_ctx: 'uint32_t',
  n_batch: 'uint32_t',
  n_ubatch: 'uint32_t',
  n_seq_max: 'uint32_t',
  n_rs_seq: 'uint32_t',
  n_outputs_max: 'uint32_t',
  n_outputs_max_per_seq: 'uint32_t',
  n_threads: 'int32_t',
  n_threads_batch: 'int32_t',
  ctx_type: 'int32_t',
  rope_scaling_type: 'int32_t',
  pooling_type: 'int32_t',
  attention_type: 'int32_t',
  flash_attn_type: 'int32_t',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32_t',
  defrag_thold: 'float',
  cb_eval: 'void *',
  cb_eval_user_data: 'void *',
  type_k: 'int32_t',
  type_v: 'int32_t',
  abort_callback: 'void *',
  abort_callback_data: 'void *',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void *',
  n_samplers: 'size_t',
  ctx_other: 'void *',
};

const BATCH = {
  n_tokens: 'int32_t',
  token: 'int32_t *',
  embd: 'float *',
  pos: 'int32_t *',
  n_seq_id: 'int32_t *',
  seq_id: 'void *',
  logits: 'int8_t *',
};

const QUANTIZE_PARAMS = {
  nthread: 'int32_t',
  ftype: 'int32_t',
  output_tensor_type: 'int32_t',
  token_embedding_type: 'int32_t',
  allow_requantize: 'bool',
  quantize_output_tensor: 'bool',
  only_copy: 'bool',
  pure: 'bool',
  keep_split: 'bool',
  dry_run: 'bool',
  imatrix: 'void *',
  kv_overrides: 'void *',
  tt_overrides: 'void *',
  prune_layers: 'void *',
  max_buf_size: 'size_t',
};

/** What the defaults must be for the structures above to be the library's. */
const KNOWN_DEFAULTS = {
  context: {
    n_ctx: 512,
    n_batch: 2048,
    n_ubatch: 512,
    n_seq_max: 1,
    yarn_ext_factor: -1,
    type_k: 1,
    type_v: 1,
    n_samplers: 0,
    ctx_other: null,
  },
  model: { use_extra_bufts: true, vocab_only: false, check_tensors: false, kv_overrides: null },
  quantize: { nthread: 0, quantize_output_tensor: true, pure: false, imatrix: null, prune_layers: null },
};

let opened;

/** Loads the libraries once a process and gives {koffi, llama, system}. */
export function openLlama() {
  opened ??= load();
  return opened;
}

function load() {
  const koffi = requirePeer('koffi');
  const folder = llamaFolder();
  const files = readdirSync(folder);
  const open = (pattern) => {
    const file = files.find((name) => pattern.test(name));
    if (file === undefined) throw new Error(`no library ${pattern} among llama.cpp's`);
    return koffi.load(path.join(folder, file), { global: true });
  };
  koffi.struct('llama_imatrix', { name: 'void *', data: 'void *', size: 'size_t' });
  koffi.struct('llama_model_params', MODEL_PARAMS);
  koffi.struct('llama_context_params', CONTEXT_PARAMS);
  koffi.struct('llama_batch', BATCH);
  koffi.struct('llama_quantize_params', QUANTIZE_PARAMS);

  // The order matters: the processor's own build of the kernels is chosen by libggml, and must be there before llama.
  open(/^libggml-base\.so$/);
  open(/^libggml\.v?[\d.]*so/).func('void ggml_backend_load_all_from_path(const char *)')(folder);
  const library = open(/^libllama\.v?[\d.]*so/);
  const llama = {
    backendInit: library.func('void llama_backend_init()'),
    systemInfo: library.func('const char * llama_print_system_info()'),
    modelDefaults: library.func('llama_model_params llama_model_default_params()'),
    contextDefaults: library.func('llama_context_params llama_context_default_params()'),
    quantizeDefaults: library.func('llama_quantize_params llama_model_quantize_default_params()'),
    loadModel: library.func('void * llama_model_load_from_file(const char *, llama_model_params)'),
    freeModel: library.func('void llama_model_free(void *)'),
    createContext: library.func('void * llama_init_from_model(void *, llama_context_params)'),
    freeContext: library.func('void llama_free(void *)'),
    getMemory: library.func('void * llama_get_memory(void *)'),
    clearMemory: library.func('void llama_memory_clear(void *, bool)'),
    decode: library.func('int32_t llama_decode(void *, llama_batch)'),
    logits: library.func('void * llama_get_logits(void *)'),
    quantize: library.func(
      'uint32_t llama_model_quantize(const char *, const char *, llama_quantize_params *)',
    ),
  };
  checkDefaults('model', llama.modelDefaults());
  checkDefaults('context', llama.contextDefaults());
  checkDefaults('quantize', llama.quantizeDefaults());
  llama.backendInit();
  return { koffi, llama, system: llama.systemInfo().trim() };
}

function checkDefaults(name, found) {
  for (const [key, value] of Object.entries(KNOWN_DEFAULTS[name])) {
    if (found[key] !== value) {
      throw new Error(
        `llama.cpp's ${name} parameters have another layout: ${key} is ${found[key]}, expected ${value}`,
      );
    }
  }
}
