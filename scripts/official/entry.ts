// What tokens.mjs takes from the sources of the workspace.
export { createTokenizer } from '@duobit/core';
export { openCheckpoint } from '@duobit/quantizer';
export { cutWindows } from '../../packages/quantizer/src/calibration/windows.ts';
