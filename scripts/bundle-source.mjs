// Bundles one TypeScript file of a package with the workspace's sources, so that plain Node runs it without a build.
import { mkdirSync } from 'node:fs';
import { join, parse } from 'node:path';
import { build } from 'tsup';

/**
 * @param {string} entry the file
 * @param {string} folder where the bundle goes
 * @returns {Promise<string>} path of the bundle
 */
export async function bundleSource(entry, folder) {
  mkdirSync(folder, { recursive: true });
  const { name } = parse(entry);
  await build({
    config: false,
    entry: { [name]: entry },
    outDir: folder,
    format: ['esm'],
    target: 'node20',
    platform: 'node',
    noExternal: [/./],
    outExtension: () => ({ js: '.mjs' }),
    sourcemap: 'inline',
    splitting: false,
    silent: true,
    esbuildOptions(options) {
      options.conditions = ['@duobit/source'];
    },
  });
  return join(folder, `${name}.mjs`);
}
