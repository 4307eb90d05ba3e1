// Dense linear algebra for quantization: one thread, the same bits on every machine.
export {
  cholesky,
  type InverseCholesky,
  type InverseCholeskyOptions,
  inverseCholesky,
  solveSymmetric,
} from './cholesky.ts';
export { descend } from './descent.ts';
export { type BlockErrors, errorInBlock, MAX_LEVELS, subtractProduct } from './gptq.ts';
export type { Matrix, Values } from './matrix.ts';
export type { QuantizedRows } from './quantized-rows.ts';
export { type LevelSums, levelSums, refitLevels } from './refit.ts';
export { Workspace } from './workspace.ts';
