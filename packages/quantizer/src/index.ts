// Public face of @duobit/quantizer.

export type { CalibrationOptions } from './calibration/windows.ts';
export type { Checkpoint } from './checkpoint/checkpoint.ts';
export { openCheckpoint } from './checkpoint/open.ts';
export { type PreparedCheckpoint, prepareCheckpoint } from './checkpoint/prepared-checkpoint.ts';
export { isReadFrom } from './checkpoint/read-from.ts';
export type { BlockOutcome } from './distillation/block-stages.ts';
export {
  BLOCK_INPUTS,
  type BlockInputs,
  type BlockStageOptions,
  type DistillationOptions,
  type EndToEndOptions,
  PRESETS,
  type Preset,
  presetStages,
  type Rates,
} from './distillation/options.ts';
export type { TrainingRecord } from './distillation/retry.ts';
export { negativeLogLikelihood } from './evaluation/log-likelihood.ts';
export {
  evaluatePerplexity,
  evaluateTokens,
  type PerplexityOptions,
  type PerplexityProgress,
  type PerplexityReport,
} from './evaluation/perplexity.ts';
export { createScorer, type Score, type Scorer } from './evaluation/scorer.ts';
export {
  type Choice,
  parseTask,
  type Question,
  TASK_NAMES,
  TASKS,
  type TaskName,
} from './evaluation/tasks.ts';
export {
  type Accuracy,
  evaluateZeroShot,
  type ZeroShotOptions,
  type ZeroShotProgress,
  type ZeroShotReport,
} from './evaluation/zero-shot.ts';
export {
  DEFAULT_SHARD_SIZE,
  type ExportFolderOptions,
  type ExportOptions,
  type ExportProgress,
  type ExportReport,
  type ExportSource,
  exportFolder,
  exportSafetensors,
} from './export/export.ts';
export type { ExportDtype } from './export/values.ts';
export { createMethod, METHOD_NAMES } from './methods/baselines/index.ts';
export { createDenseMethod } from './methods/dense-method.ts';
export { createIntegerMethod } from './methods/integer-method.ts';
export type { LayerMethod, LayerProblem, LayerResult } from './methods/layer-method.ts';
export type { EncodedRows, RowBlock, TensorMethod } from './methods/tensor-method.ts';
export { createW11LayerMethod, W11_DEFAULTS, type W11LayerOptions } from './methods/w11-layer-method.ts';
export { createW11Method } from './methods/w11-method.ts';
export type {
  EmbeddingFormat,
  FitOptions,
  GroupSize,
  QuantizeOptions,
  QuantizeProgress,
  RotationKind,
} from './options.ts';
export { quantize } from './quantize.ts';
export { type QueueOptions, type QueueWorkerOptions, runQueueWorker } from './queue/open.ts';
export {
  parseRecipe,
  type Recipe,
  type RecipeCalibration,
  type RecipeDistillation,
  recipeOptions,
} from './recipe.ts';
export type { LevelStatistics, QuantizeReport, TensorReport } from './report.ts';
export { renderReport } from './report-page/page.ts';
export {
  type Calibration,
  calibrate,
  importanceOf,
} from './stages/calibration.ts';
export { type FittedModel, fitModel } from './stages/fitted-model.ts';
export { LevelFitter } from './stages/level-fitter.ts';
export { chooseOutliers } from './stages/outliers.ts';
export { DEFAULT_EVALUATION_WINDOWS, type StagePerplexity, type StageReport } from './stages/stage-report.ts';
export type { Stage1Options } from './stages/stage1.ts';
