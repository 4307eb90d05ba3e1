// Entry of the kernel module: what the host may call. Raw pointers into an imported memory, no allocation, no state.
export { quantizeActivations } from './activations';
export { attention, cacheRows } from './attention';
export { denseMatMul, embedF32 } from './dense';
export { accumulateSquares, add, rmsNorm, rope, siluMul } from './elementwise';
export { embedInt4, embedInt8, int4MatMul, int8MatMul } from './integer-dense';
export { w11MatMul } from './w11';
