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
