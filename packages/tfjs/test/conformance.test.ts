// The suite that every backend passes, on TensorFlow.js in plain JavaScript. DUOBIT_TFJS_DEVICES names other devices in its place,
// separated by commas: 'tensorflow' has one case that it cannot pass, experiments/tfjs-binding/README.md says which.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { openTfjsBackend, type RuntimeDevice } from '../src/runtime/backend.ts';

const devices = (process.env.DUOBIT_TFJS_DEVICES ?? 'cpu').split(',') as RuntimeDevice[];

for (const device of devices)
  registerConformance(
    { describe, it },
    { name: `tfjs on ${device}`, create: () => openTfjsBackend({ device }) },
  );
