// llama.cpp's C interface through koffi: the shared libraries that node-llama-cpp ships, called directly, so that no
// JavaScript of theirs stands between the clock and the library.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { BATCH, LAYOUTS } from './llama-layouts.mjs';

let opened;

/**
 * Loads the libraries once a process and gives {koffi, llama, system}.
 * @param from koffi itself, the libraries' folder, and the version of their package, of those in llama-layouts.mjs
 */
export function openLlama(from) {
  opened ??= load(from);
  return opened;
}

function load({ koffi, folder, version }) {
  const layout = LAYOUTS[version];
  const files = readdirSync(folder);
  const open = (pattern) => {
    const file = files.find((name) => pattern.test(name));
    if (file === undefined) throw new Error(`no library ${pattern} among llama.cpp's`);
    return koffi.load(path.join(folder, file), { global: true });
  };
  koffi.struct('llama_model_params', layout.model);
  koffi.struct('llama_context_params', layout.context);
  koffi.struct('llama_batch', BATCH);

  // The order matters: the processor's own build of the kernels is chosen by libggml, and must be there before llama.
  open(/^libggml-base\.so$/);
  open(/^libggml\.(cuda\.)?[vb]?[\d.]*so/).func('void ggml_backend_load_all_from_path(const char *)')(folder);
  const library = open(/^libllama\.(cuda\.)?[vb]?[\d.]*so/);
  const llama = {
    backendInit: library.func('void llama_backend_init()'),
    systemInfo: library.func('const char * llama_print_system_info()'),
    modelDefaults: library.func('llama_model_params llama_model_default_params()'),
    contextDefaults: library.func('llama_context_params llama_context_default_params()'),
    loadModel: library.func('void * llama_model_load_from_file(const char *, llama_model_params)'),
    freeModel: library.func('void llama_model_free(void *)'),
    createContext: library.func('void * llama_init_from_model(void *, llama_context_params)'),
    freeContext: library.func('void llama_free(void *)'),
    getMemory: library.func('void * llama_get_memory(void *)'),
    clearMemory: library.func('void llama_memory_clear(void *, bool)'),
    decode: library.func('int32_t llama_decode(void *, llama_batch)'),
    logits: library.func('void * llama_get_logits(void *)'),
    hasGpu: library.func('bool llama_supports_gpu_offload()'),
  };
  const { defaults } = layout;
  checkDefaults('model', llama.modelDefaults(), defaults.model);
  checkDefaults('context', llama.contextDefaults(), defaults.context);
  if (layout.quantize) addQuantizer(koffi, library, layout, llama);
  llama.backendInit();
  return { koffi, llama, system: llama.systemInfo().trim() };
}

function addQuantizer(koffi, library, layout, llama) {
  koffi.struct('llama_imatrix', { name: 'void *', data: 'void *', size: 'size_t' });
  koffi.struct('llama_quantize_params', layout.quantize);
  llama.quantizeDefaults = library.func('llama_quantize_params llama_model_quantize_default_params()');
  llama.quantize = library.func(
    'uint32_t llama_model_quantize(const char *, const char *, llama_quantize_params *)',
  );
  checkDefaults('quantize', llama.quantizeDefaults(), layout.defaults.quantize);
}

function checkDefaults(name, found, known) {
  for (const [key, value] of Object.entries(known)) {
    if (found[key] !== value) {
      throw new Error(
        `llama.cpp's ${name} parameters have another layout: ${key} is ${found[key]}, expected ${value}`,
      );
    }
  }
}
