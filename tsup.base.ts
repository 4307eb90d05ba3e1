// The one place that says how packages are bundled, so that a change of bundler touches one file.
import { copyFile } from 'node:fs/promises';
import { defineConfig } from 'tsup';

/**
 * ESM only, types beside the code; every workspace and npm dependency stays external.
 * @param globals what the declarations need of global types, as attributes of references: 'lib="dom"'
 */
export function library(entry: Record<string, string>, globals: readonly string[] = []) {
  return defineConfig({
    entry,
    format: ['esm'],
    target: 'node20',
    platform: 'neutral',
    // Declarations are made against the built types of the other packages, as a consumer sees them, not against
    // their sources; turbo builds dependencies first.
    dts: {
      compilerOptions: { customConditions: [] },
      ...(globals.length === 0
        ? {}
        : { banner: globals.map((global) => `/// <reference ${global} />`).join('\n') }),
    },
    clean: true,
    sourcemap: true,
    splitting: true,
    external: [/^node:/, /^@duobit\//],
    // npm packs the licence of a package's own folder only.
    onSuccess: () => copyFile('../../LICENSE', 'LICENSE'),
  });
}
