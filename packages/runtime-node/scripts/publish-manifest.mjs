// Names the prebuilt packages as optional dependencies in package.json while npm packs this package. They cannot stand
// there always: the lockfile would need them from a registry before the version they belong to is published.
//
//   node scripts/publish-manifest.mjs add | remove      run by npm as prepack and postpack
import { readFileSync, writeFileSync } from 'node:fs';
import { packageName, TARGETS } from './native-targets.mjs';

const path = new URL('../package.json', import.meta.url);
const { optionalDependencies = {}, ...manifest } = JSON.parse(readFileSync(path, 'utf8'));
const names = TARGETS.map(packageName);
const others = Object.entries(optionalDependencies).filter(([name]) => !names.includes(name));
const added = process.argv[2] === 'add' ? names.map((name) => [name, manifest.version]) : [];
const all = Object.fromEntries([...others, ...added]);
// In its place among the other fields, so that a pack leaves the file as it was.
const entries = Object.entries(manifest);
if (Object.keys(all).length > 0) {
  const before = entries.findIndex(([name]) => name === 'peerDependencies');
  entries.splice(before < 0 ? entries.length : before, 0, ['optionalDependencies', all]);
}
writeFileSync(path, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
