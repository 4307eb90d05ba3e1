// Our wasm backend in a Web Worker. Bundled by server.mjs.
import { createModel, createWasmBackend } from '@duobit/core';
import { createBlobSource, openContainer } from '@duobit/format';
import { measureSteps } from '../steps.mjs';

self.onmessage = async ({ data: { job, file } }) => {
  try {
    self.postMessage(await measure(job, file));
  } catch (error) {
    self.postMessage({ error: error.stack ?? String(error) });
  }
};

async function measure({ threads, activations, tokens, prompts, decode, contextLength }, file) {
  const begun = performance.now();
  const backend = await createWasmBackend({ threads });
  const container = await openContainer(createBlobSource(file, 'model'));
  const model = await createModel(container, backend, { contextLength, activations });
  const loadSeconds = (performance.now() - begun) / 1000;
  let position = 0;
  const forward = async (ids) => {
    await model.forward(ids, { position, logits: 'last' });
    position += ids.length;
  };
  const measured = await measureSteps(tokens, prompts, decode, {
    async prefill(ids) {
      position = 0;
      await forward(ids);
    },
    step: (id) => forward([id]),
  });
  return { ...measured, loadSeconds, threadsUsed: model.threads };
}
