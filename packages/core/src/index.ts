// Public face of @duobit/core.
export {
  type BlockWeights,
  blockWeights,
  LLAMA,
  listModelTensors as listTensors,
  type ModelTensor as TensorSpec,
} from '@duobit/format';
export {
  type ActivationRefinement,
  type Backend,
  KV_PRECISIONS,
  type KvPrecision,
  type LogitSums,
  MOST_TOP,
  type PrepareOptions,
  type Program,
  type RunPart,
  type RunRequest,
  type TopLogits,
  type WeightReader,
} from './backend.ts';
export {
  checkLogitsRow,
  checkPart,
  checkPlan,
  checkPrepareOptions,
  checkRun,
  checkSlot,
  checkTemperature,
  checkTokens,
  checkTop,
  checkWrite,
  disposed,
  notRun,
} from './backends/checks.ts';
export { decodedSlots } from './backends/decoded-slots.ts';
export { listSymmetricSums, mirrorUpper } from './backends/gram.ts';
export { createReferenceBackend } from './backends/reference/backend.ts';
export { listParts, listPlaces, listWanted, type RowRange, type RunRows } from './backends/run-rows.ts';
export { createWasmBackend, type WasmBackendOptions } from './backends/wasm/backend.ts';
export { benchMatvec, type MatvecOptions, type MatvecReport } from './backends/wasm/bench.ts';
export {
  buildPlan,
  listPlanWeights,
  type PlanOptions,
  type PlanSection,
  type PlanSource,
} from './build-plan.ts';
export {
  type ChatModel,
  type ChatRequestOptions,
  type CompletionOptions,
  createTurns,
} from './chat-completions/answers.ts';
export { type ChatCompletions, createChatCompletions } from './chat-completions/chat-completions.ts';
export type {
  Completion,
  CompletionLogprobs,
  CompletionRequest,
} from './chat-completions/completion-types.ts';
export { type Completions, createCompletions } from './chat-completions/completions.ts';
export type { Turns } from './chat-completions/turns.ts';
export type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  ChatCompletionUsage,
  ChatDelta,
  ChatFinishReason,
  ChatLogprobs,
  ChatRequestMessage,
  ChatResponseFormat,
  ChatTextPart,
  ChatTokenLogprob,
  ChatTool,
  ChatToolCall,
  ChatToolChoice,
  ChatTopLogprob,
  CompletionUsage,
} from './chat-completions/types.ts';
export type { ChatMessage, ChatTemplateOptions, TemplateTool, TemplateToolCall } from './chat-template.ts';
export { exponential } from './exponential.ts';
export { checkGenerateOptions, type GenerateFacts } from './generate-options.ts';
export type {
  FinishReason,
  GenerateOptions,
  GenerationEvent,
  Timings,
  TokenLogprob,
  TokenLogprobs,
} from './generation.ts';
export type { LogitAdjustments } from './logit-adjustments.ts';
export { logitOfKey, sortTop } from './logit-keys.ts';
export {
  createModel,
  type ForwardOptions,
  type Model,
  type ModelOptions,
  type Prompt,
} from './model.ts';
export { outliersOf, readOutlierColumns, splitOutliers, splitTensor, tensorOf } from './outliers.ts';
export type { ExecutionPlan, HeadLayout, Operation, Slot } from './plan.ts';
export { createRandom } from './random.ts';
export { readWeights } from './read-weights.ts';
export { ropeFrequencies } from './rope.ts';
export { type SamplerOptions, sampleToken } from './sampler.ts';
export {
  crossSlot,
  inputSlot,
  rotatedSlot,
  SLOTS,
  statisticsSlot,
  teacherSlot,
} from './slots.ts';
export type { StreamDecoder } from './stream-decoder.ts';
export type { Grammar, Grammars, GrammarVocabulary, TokenConstraint } from './token-constraint.ts';
export { createTokenizer, type DecodeOptions, type EncodeOptions, type Tokenizer } from './tokenizer.ts';
export type { TrainingKernels, TrainingRows } from './training-kernels.ts';
