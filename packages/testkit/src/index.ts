// Public face of @duobit/testkit, private to this repository.
export { compareValues, type Expectation, exactly } from './compare.ts';
export {
  type BackendEntry,
  type ConformanceCase,
  conformanceCases,
  registerConformance,
  type TestRunner,
} from './conformance.ts';
export { CountingSource } from './counting-source.ts';
export { type CachedRow, cacheValues } from './kv-cache.ts';
export {
  createRandom,
  drawActivations,
  drawInteger,
  drawIntegers,
  drawNormal,
  type Random,
} from './random-values.ts';
export { demandRowInvariance } from './row-invariance.ts';
export { type MadeTensor, makeDense, makeInteger, makeW11, type W11Options } from './tensors.ts';
export { makeTinyModel, TINY_ARCHITECTURE, type TinyModel, type TinyModelOptions } from './tiny-model.ts';
export * as tolerance from './tolerance.ts';
export {
  TOY_SPECIAL_TOKENS,
  TOY_TOKENS,
  TOY_VOCABULARY,
  toyTokenizer,
  toyTokenizerConfig,
} from './toy-tokenizer.ts';
export { checkPlanOnBackend, type TracedRun } from './trace.ts';
export { blank, type TrainingCase } from './training/cases.ts';
export * as trainingReference from './training/reference.ts';
export { checkTrainingCase, TRAINING_CASES } from './training/suite.ts';
export { type DeviceCounts, type DeviceWatch, watchDevice } from './webgpu/device-watch.ts';
export { type ModelCosts, measureTokenCosts, type TokenCosts } from './webgpu/token-costs.ts';
export { writeModel } from './write-model.ts';
