// Entry of the linear algebra module: what the host may call. Raw pointers into an imported memory, no allocation; strides
// in bytes. No relaxed instruction, so that every machine computes the same bits.
export { clearUpper, factor, invert, solveRight, solveTransposed } from './cholesky';
export { descend } from './descend';
export { subtractProduct32 } from './gemm';
export { propagateErrors } from './propagate';
export { sumLevels } from './refit';

/** First byte that the module leaves to the host. */
export function heapStart(): usize {
  return __heap_base;
}
