// Public face of @duobit/runtime-web.
export { createWebGpuBackend, type WebGpuBackend, type WebGpuBackendOptions } from './backend.ts';
export { type DeviceOptions, nameVariant, type Variant, type WebGpuDevice } from './device.ts';
export { type LoadOptions, type LoadProgress, loadModel } from './load-model.ts';
export type { Counters, KernelTime, WebGpuProgram } from './program.ts';
export { createStopwatch, type StopwatchOptions } from './stopwatch.ts';
export { listStages, type Stage, type Stopwatch, type Subject, type TuningStore } from './tuner.ts';
export type { Tuning } from './tuning.ts';
