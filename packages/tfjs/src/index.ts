// Public face of @duobit/tfjs.

export type { Scalar, Tensor, Tensor1D, Tensor2D, Variable } from '@tensorflow/tfjs-core';
export { ADAM_DEFAULTS, Adam, type AdamOptions, cosineDecay } from './adam.ts';
export { DEVICES, type Device, type Engine, type EngineOptions, openEngine } from './engine.ts';
export { interpret, type PlanValues, type QuantizeOperation, type TensorQuantizer } from './interpret.ts';
export { type Differentiated, differentiable } from './operations/differentiable.ts';
export type { AttentionShape, Knee, Operations } from './operations/operations.ts';
export {
  createTfjsBackend,
  type OpenTfjsOptions,
  openTfjsBackend,
  RUNTIME_DEVICES,
  type RuntimeDevice,
  type TfjsBackendOptions,
} from './runtime/backend.ts';
