// What every tarball must be: complete, without tests, with a licence and a README, described as registries and bundlers want it.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { listPublished, NPM, ROOT, readJson } from './workspace.mjs';

/** Not among the development dependencies: it brings a compiler of its own, which everybody would install. */
const ARE_THE_TYPES_WRONG = '@arethetypeswrong/cli@0.18.5';

/** All file names in an `exports` or `bin` value. */
function targets(value) {
  if (typeof value === 'string') return [value.replace(/^\.\//, '')];
  return value === undefined || value === null ? [] : Object.values(value).flatMap(targets);
}

function checkManifest({ folder, manifest }) {
  const { license, engines } = readJson(join(ROOT, 'package.json'));
  // The one address of them all; a release compares it with where it runs.
  const { url } = listPublished()[0].manifest.repository;
  const expected = {
    type: 'module',
    license,
    engines,
    repository: { type: 'git', url, directory: relative(ROOT, folder) },
    publishConfig: { access: 'public', provenance: true },
  };
  const failures = Object.entries(expected)
    .filter(([field, value]) => JSON.stringify(manifest[field]) !== JSON.stringify(value))
    .map(([field, value]) => `"${field}" is not ${JSON.stringify(value)}`);
  for (const field of ['description', 'files', 'sideEffects', 'exports'])
    if (manifest[field] === undefined) failures.push(`has no "${field}"`);
  const workspace = new Map(listPublished().map(({ manifest: { name, version } }) => [name, version]));
  for (const [name, version] of Object.entries(manifest.dependencies ?? {}))
    if (/^(duobit|@duobit\/.*)$/.test(name) && workspace.get(name) !== version)
      failures.push(`depends on ${name} ${version}, which is not published with it`);
  for (const [entry, conditions] of Object.entries(manifest.exports ?? {})) {
    // A TypeScript source is only for this repository's own tools; Node and bundlers must fall to `default`.
    const keys = Object.keys(conditions);
    if (keys.join() !== '@duobit/source,types,default')
      failures.push(`exports["${entry}"] has the conditions ${keys}`);
  }
  return failures;
}

function checkFiles({ manifest, files }) {
  const present = new Set(files);
  const named = [...targets(manifest.exports), ...targets(manifest.bin), 'LICENSE', 'README.md'];
  const missing = named.filter((name) => !present.has(name)).map((name) => `${name} is not in the tarball`);
  const tests = files.filter((name) => /\.test\.[cm]?[jt]s$|(^|\/)testing\//.test(name));
  return [...missing, ...tests.map((name) => `publishes the test ${name}`)];
}

async function lint({ tarball }) {
  const bytes = readFileSync(tarball);
  const { messages, pkg } = await publint({
    pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) },
    strict: true,
  });
  return messages.map((message) => `publint: ${formatMessage(message, pkg)}`);
}

function checkTypes({ tarball }, cwd) {
  const attw = ['exec', '--yes', `--package=${ARE_THE_TYPES_WRONG}`, '--', 'attw', tarball];
  try {
    execFileSync(process.execPath, [NPM, ...attw, '--profile', 'esm-only', '--no-color', '-f', 'ascii'], {
      cwd,
      encoding: 'utf8',
      stdio: 'pipe',
    });
    return [];
  } catch (error) {
    return [`are-the-types-wrong: ${error.stdout}${error.stderr}`];
  }
}

/**
 * @param packed a package of `listPublished` with what `pack` gave of it
 * @param cwd an empty folder
 * @returns what is wrong with it, as sentences
 */
export async function checkTarball(packed, cwd) {
  return [
    ...checkManifest(packed),
    ...checkFiles(packed),
    ...(await lint(packed)),
    ...checkTypes(packed, cwd),
  ];
}
