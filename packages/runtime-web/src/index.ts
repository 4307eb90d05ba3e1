// Public face of @duobit/runtime-web.
export { createWebGpuBackend, type WebGpuBackend, type WebGpuBackendOptions } from './backend.ts';
export { type DeviceOptions, nameVariant, type Variant, type WebGpuDevice } from './device.ts';
export { type LoadOptions, type LoadProgress, loadModel } from './load-model.ts';
export type { Counters, KernelTime, WebGpuProgram } from './program.ts';
export { createRecoveringBackend, type RecoveryOptions } from './recovery.ts';
export type { Tuning } from './tuning.ts';
export type { WebModel, WorkerModel } from './web-model.ts';
export { loadModelInWorker } from './worker/client.ts';
export type { WorkerLoadOptions } from './worker/protocol.ts';
