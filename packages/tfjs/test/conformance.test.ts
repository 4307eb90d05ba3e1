// The suite that every backend passes, on TensorFlow.js: on its plain-JavaScript backend and on its WebAssembly.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { openTfjsBackend, type RuntimeDevice } from '../src/runtime/backend.ts';

/** DUOBIT_TFJS_DEVICES runs others, as 'tensorflow'; separated by commas. */
const devices = (process.env.DUOBIT_TFJS_DEVICES ?? 'cpu').split(',') as RuntimeDevice[];

for (const device of devices)
  registerConformance(
    { describe, it },
    { name: `tfjs on ${device}`, create: () => openTfjsBackend({ device }) },
  );
