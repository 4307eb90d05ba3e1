// The one place that says how packages are bundled, so that a change of bundler touches one file.
import { defineConfig } from 'tsup';

/** ESM only, types beside the code; every workspace and npm dependency stays external. */
export function library(entry: Record<string, string>) {
  return defineConfig({
    entry,
    format: ['esm'],
    target: 'node20',
    platform: 'neutral',
    dts: true,
    clean: true,
    sourcemap: true,
    splitting: true,
    external: [/^node:/, /^@duobit\//],
  });
}
