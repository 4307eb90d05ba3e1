import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** Without them the wasm backend runs on one thread. */
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export default defineConfig({
  // The folder of the model that src/main.ts names.
  publicDir: fileURLToPath(new URL('../../fixtures/embedded', import.meta.url)),
  server: { headers },
  preview: { headers },
  worker: { format: 'es' },
  build: { target: 'es2022' },
});
