// The backends that this package's tests run on: all that exist on every machine with Node.js.
import { createReferenceBackend, createWasmBackend } from '@duobit/core';
import type { BackendEntry } from '../src/conformance.ts';

export const BACKENDS: readonly BackendEntry[] = [
  { name: 'reference', create: createReferenceBackend, severalSequences: true },
  { name: 'wasm', create: () => createWasmBackend(), severalSequences: true },
  {
    name: 'wasm, plain SIMD',
    create: () => createWasmBackend({ relaxedSimd: false }),
    severalSequences: true,
  },
  { name: 'wasm, 3 threads', create: () => createWasmBackend({ threads: 3 }), severalSequences: true },
];
