// Public face of @duobit/runtime-node.
export { BACKEND_NAMES, type BackendName, type BackendOptions, createBackend } from './backends.ts';
export {
  type CudaBackendOptions,
  type CudaSupport,
  createCudaBackend,
  cudaSupport,
} from './cuda/backend.ts';
export {
  type DeviceEntry,
  type DeviceList,
  type ListDevicesOptions,
  listDevices,
} from './devices/list-devices.ts';
export { findCacheFolder } from './hub/cache-folder.ts';
export {
  type CachedModel,
  type ModelCache,
  type ModelCacheOptions,
  openModelCache,
} from './hub/model-cache.ts';
export { type Environment, type Network, openNetwork } from './hub/network.ts';
export { type OpenSourceOptions, openModelSource } from './hub/open-model.ts';
export { type DownloadProgress, type PulledModel, type PullOptions, pullModel } from './hub/pull.ts';
export { type LoadOptions, loadModel } from './load-model.ts';
export {
  createNativeBackend,
  INSTRUCTION_SETS,
  type InstructionSet,
  type NativeBackendOptions,
  type NativeSupport,
  nativeSupport,
} from './native/backend.ts';
export { benchNativeMatvec } from './native/bench.ts';
export { createTrainingKernels, type TrainingKernelOptions } from './native/training.ts';
export { createNodeTfjsBackend, type NodeTfjsOptions, type TfjsDevice } from './tfjs.ts';
export { createNodeWebGpuBackend, type NodeWebGpuOptions, whyNotWebGpu } from './webgpu/backend.ts';
