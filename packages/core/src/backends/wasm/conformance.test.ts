// The suite that every backend passes, on the WebAssembly backend.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { createWasmBackend } from './backend.ts';

registerConformance({ describe, it }, { name: 'wasm', create: () => createWasmBackend() });
