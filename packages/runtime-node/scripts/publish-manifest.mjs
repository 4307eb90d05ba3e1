// Names the prebuilt packages as optional dependencies in package.json while npm packs this package. They cannot stand
// there always: the lockfile would need them from a registry before the version they belong to is published.
//
//   node scripts/publish-manifest.mjs add | remove      run by npm as prepack and postpack
import { readFileSync, writeFileSync } from 'node:fs';
import { packageName, TARGETS } from './native-targets.mjs';

const path = new URL('../package.json', import.meta.url);
const { optionalDependencies: _, ...manifest } = JSON.parse(readFileSync(path, 'utf8'));
if (process.argv[2] === 'add')
  manifest.optionalDependencies = Object.fromEntries(
    TARGETS.map((target) => [packageName(target), manifest.version]),
  );
writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`);
