// transformers.js on onnxruntime-web in a Web Worker, as its own examples have it: the published bundle, device wasm. The
// model's file is given from memory, the small ones beside it come from the server.
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  DynamicCache,
  env,
  Tensor,
} from '/peers/@huggingface/transformers/dist/transformers.min.js';
import { measureSteps } from '/steps.mjs';

/**
 * The build for processors alone. Without this line transformers.js takes the one that can do WebGPU too: its wasm kernels
 * are slower, and it has none for a quantized embedding.
 */
const ORT = '/peers/onnxruntime-web/dist/ort-wasm-simd-threaded';

self.onmessage = async ({ data: { job, file } }) => {
  try {
    self.postMessage(await measure(job, file));
  } catch (error) {
    self.postMessage({ error: error.stack ?? String(error) });
  }
};

async function measure({ threads, dtype, tokens, prompts, decode }, file) {
  const begun = performance.now();
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = '/folder/';
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.fetch = (url, options) =>
    String(url).endsWith('.onnx') ? Promise.resolve(new Response(file)) : fetch(url, options);
  env.backends.onnx.wasm.numThreads = threads;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${ORT}.mjs`, wasm: `${ORT}.wasm` };
  // Not used below, as tokens are given, but loaded, as every other engine here loads its own.
  await AutoTokenizer.from_pretrained('model');
  const model = await AutoModelForCausalLM.from_pretrained('model', { dtype, device: 'wasm' });
  const loadSeconds = (performance.now() - begun) / 1000;

  let past = null;
  let length = 0;
  const int64 = (values, shape) => new Tensor('int64', values, shape);
  const forward = async (ids) => {
    length += ids.length;
    const { logits, ...present } = await model.forward({
      input_ids: int64(BigInt64Array.from(ids, BigInt), [1, ids.length]),
      attention_mask: int64(new BigInt64Array(length).fill(1n), [1, length]),
      num_logits_to_keep: int64(BigInt64Array.of(1n), []),
      past_key_values: past,
    });
    if (logits.dims[1] !== 1) throw new Error(`there are logits of ${logits.dims[1]} tokens`);
    past = new DynamicCache(
      Object.fromEntries(
        Object.entries(present).map(([name, value]) => [name.replace('present', 'past_key_values'), value]),
      ),
    );
  };
  const measured = await measureSteps(tokens, prompts, decode, {
    async prefill(ids) {
      past = null;
      length = 0;
      await forward(ids);
    },
    step: (id) => forward([id]),
  });
  return { ...measured, loadSeconds, threadsUsed: env.backends.onnx.wasm.numThreads };
}
