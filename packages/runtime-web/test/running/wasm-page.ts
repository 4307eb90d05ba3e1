// The page of wasm.test.ts and the worker that it starts, both from this file.
import { runWasmJob, type WasmJob } from './wasm-job.ts';

function runInWorker(job: WasmJob): Promise<Awaited<ReturnType<typeof runWasmJob>>> {
  const worker = new Worker('wasm-page.js', { type: 'module' });
  return new Promise<Awaited<ReturnType<typeof runWasmJob>>>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(job);
  }).finally(() => worker.terminate());
}

export const wasmActions = {
  page: runWasmJob,
  worker: runInWorker,
};

if (typeof document === 'undefined')
  self.onmessage = async ({ data }) => self.postMessage(await runWasmJob(data));
else Object.assign(globalThis, { actions: wasmActions });
