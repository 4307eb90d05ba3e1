// The suite that every backend passes, on TensorFlow.js in WebAssembly; a file of its own, as a process has one such backend.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { openTfjsBackend } from '../src/runtime/backend.ts';

registerConformance(
  { describe, it },
  { name: 'tfjs on wasm', create: () => openTfjsBackend({ device: 'wasm' }) },
);
