// Public face of @duobit/runtime-web.
export { createWebGpuBackend, type WebGpuBackend, type WebGpuBackendOptions } from './backend.ts';
export type { LoadProgress } from './cache/chunk-download.ts';
export { type CachedModel, type CacheUsage, type ModelCache, openModelCache } from './cache/model-cache.ts';
export { type ModelLocation, type OpenModelOptions, openModel } from './cache/open-model.ts';
export type { Counters } from './commands.ts';
export { type DeviceOptions, nameVariant, type Variant, type WebGpuDevice } from './device.ts';
export { type LoadOptions, loadModel } from './load-model.ts';
export type { KernelTime, WebGpuProgram } from './program.ts';
export { createRecoveringBackend, type RecoveryOptions } from './recovery.ts';
export { createStopwatch, type StopwatchOptions } from './stopwatch.ts';
export { listStages, type Stage, type Stopwatch, type Subject, type TuningStore } from './tuner.ts';
export type { Tuning } from './tuning.ts';
export type { WebModel, WorkerModel } from './web-model.ts';
export { loadModelInWorker } from './worker/client.ts';
export type { WorkerLoadOptions } from './worker/protocol.ts';
export { type ServeOptions, serveModels } from './worker/server.ts';
