// What baselines.mjs takes from the sources of the workspace.
export { createModel, createTokenizer, createWasmBackend } from '@duobit/core';
export { evaluateTokens, openCheckpoint } from '@duobit/quantizer';
export { embedWindows } from '../../packages/quantizer/src/calibration/streams.ts';
export { Workspace } from '../../packages/quantizer/src/linalg/index.ts';
export { createMethod, METHOD_NAMES } from '../../packages/quantizer/src/methods/baselines/index.ts';
export { quantizeBlocks } from '../../packages/quantizer/src/stages/stage1.ts';
