// Checks what npm would publish: every file that `exports` and `bin` name is in the tarball (the sources behind
// the development condition too), no tests are, no private package is depended on. Needs a build.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const failures = [];

/** All file names in an `exports` or `bin` value. */
function targets(value) {
  if (typeof value === 'string') return [value.replace(/^\.\//, '')];
  return value === undefined || value === null ? [] : Object.values(value).flatMap(targets);
}

const folders = readdirSync(join(ROOT, 'packages')).filter((name) =>
  existsSync(join(ROOT, 'packages', name, 'package.json')),
);
const manifests = new Map(
  folders.map((name) => [
    name,
    JSON.parse(readFileSync(join(ROOT, 'packages', name, 'package.json'), 'utf8')),
  ]),
);
const privateNames = new Set([...manifests.values()].filter((m) => m.private).map((m) => m.name));

for (const [folder, manifest] of manifests) {
  if (manifest.private) continue;
  const cwd = join(ROOT, 'packages', folder);
  const output = execFileSync(
    'npm',
    ['pack', '--dry-run', '--json', '--loglevel=error', '--foreground-scripts=false'],
    {
      cwd,
      encoding: 'utf8',
    },
  );
  // npm 10 gives an array, npm 11 an object by package name.
  const [pack] = Object.values(JSON.parse(output));
  const files = new Set(pack.files.map((file) => file.path));
  for (const target of [...targets(manifest.exports), ...targets(manifest.bin)]) {
    if (!files.has(target)) failures.push(`${manifest.name}: ${target} is not in the tarball`);
  }
  for (const file of files) {
    if (/\.test\.[cm]?[jt]s$|(^|\/)testing\//.test(file))
      failures.push(`${manifest.name}: publishes the test ${file}`);
  }
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    if (privateNames.has(name)) failures.push(`${manifest.name}: depends on the private ${name}`);
  }
  for (const [entry, conditions] of Object.entries(manifest.exports)) {
    // A TypeScript source is only for this repository's own tools; Node and bundlers must fall to `default`.
    const keys = Object.keys(conditions);
    if (keys.join() !== '@duobit/source,types,default') {
      failures.push(`${manifest.name}: exports["${entry}"] has the conditions ${keys}`);
    }
  }
  console.log(
    `${manifest.name} ${manifest.version}: ${files.size} files, ${pack.unpackedSize} bytes unpacked`,
  );
}
for (const failure of failures) console.error(`packages: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
