// Builds the page as files that any static host can serve: every address is relative, and a model lies beside it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { defineConfig, type Plugin } from 'vite';

/** What a host has to send for threads, and what a meta element cannot say of the policy. */
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': "frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
};

/** The server's table of types does not know a model's files. */
const MODEL_TYPES: Plugin = {
  name: 'types of model files',
  configurePreviewServer({ middlewares }) {
    middlewares.use((request, response, next) => {
      if (/\.duo(data)?(\?|$)/.test(request.url ?? ''))
        response.setHeader('Content-Type', 'application/octet-stream');
      next();
    });
  },
};

/** The fonts' licence wants to be with them. */
const FONT_LICENSE: Plugin = {
  name: 'licence of the fonts',
  generateBundle() {
    const path = createRequire(import.meta.url).resolve('@fontsource/ibm-plex-sans/LICENSE');
    this.emitFile({ type: 'asset', fileName: 'assets/fonts-license.txt', source: readFileSync(path) });
  },
};

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  // A file that is not there is a 404 and not the page.
  appType: 'mpa',
  plugins: [MODEL_TYPES, FONT_LICENSE],
  resolve: { conditions: ['@duobit/source', 'module', 'browser'] },
  worker: { format: 'es' },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: ['chrome123', 'firefox121', 'safari17.5'],
    // Small files as addresses of their own: the page's policy allows no data: URLs.
    assetsInlineLimit: 0,
    license: { fileName: 'assets/license.md' },
    modulePreload: { polyfill: false },
  },
  preview: { headers: HEADERS },
});
