// Public face of @duobit/runtime-node.
export { BACKEND_NAMES, type BackendName, type BackendOptions, createBackend } from './backends.ts';
export { type LoadOptions, loadModel } from './load-model.ts';
