// Entry of the kernel module: what the host may call. Raw pointers into an imported memory, no allocation.
export { quantizeActivations } from './activations';
export { packTile } from './pack';
export { run, serve } from './program';
export { w11MatMul } from './w11';
