// Loads TensorFlow.js with the `tensorflow` backend that scripts/tfjs-binding.mjs built. Node resolves `@tensorflow/tfjs` from
// that folder upwards, so it has to be installed in or above it: `.cache/node_modules` serves (README.md beside this file).
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { env } from 'node:process';
import { fileURLToPath } from 'node:url';
import util from 'node:util';

const DEFAULT = fileURLToPath(new URL('../../.cache/tfjs-node/tfjs-node', import.meta.url));

/** TensorFlow.js, with the backends `cpu` and `tensorflow` registered and `tensorflow` chosen; also the binding itself. */
export async function load(folder = env.TFJS_NODE_FOLDER ?? DEFAULT) {
  // Node 23 took the first away and warns of the second; the kernels of tfjs-node 4.22 call them for every operation.
  util.isNullOrUndefined ??= (value) => value === null || value === undefined;
  util.isArray = Array.isArray;
  const require = createRequire(resolve(folder, 'package.json'));
  const binding = require('./lib/napi-v8/tfjs_binding.node');
  const tf = require('@tensorflow/tfjs');
  const { NodeJSKernelBackend } = require('./dist/nodejs_kernel_backend');
  require('./dist/register_all_kernels');
  // The name tells the backend whether it is the package for GPUs, which only 3-D convolutions ask.
  tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node'), 3);
  await tf.setBackend('tensorflow');
  return { tf, binding, require };
}
