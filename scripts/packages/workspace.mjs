// The packages that are published: where they are, their tarballs as npm packs them, and empty projects that have them installed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageName, TARGETS } from '../../packages/runtime-node/scripts/native-targets.mjs';

export const ROOT = join(import.meta.dirname, '..', '..');
/** The script behind `npm`, for environments whose PATH does not have it. */
export const NPM = realpathSync(execFileSync('which', ['npm'], { encoding: 'utf8' }).trim());

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** @returns [{ folder, manifest }] of every package that is not private, in the order of their names */
export function listPublished(root = ROOT) {
  return readdirSync(join(root, 'packages'))
    .map((name) => join(root, 'packages', name))
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .map((folder) => ({ folder, manifest: readJson(join(folder, 'package.json')) }))
    .filter(({ manifest }) => !manifest.private);
}

/** Runs npm; gives its output. */
export function npm(args, cwd, env = process.env) {
  return execFileSync(process.execPath, [NPM, ...args], { cwd, env, encoding: 'utf8' });
}

/** Packs a package's folder into another: the tarball's path, the names of its files, its size unpacked. */
export function pack(folder, to) {
  const options = ['--json', '--loglevel=error', '--foreground-scripts=false', '--pack-destination', to];
  // npm 10 gives an array, npm 11 an object by package name.
  const [packed] = Object.values(JSON.parse(npm(['pack', ...options], folder)));
  const files = packed.files.map(({ path }) => path);
  return { tarball: join(to, packed.filename), files, unpackedBytes: packed.unpackedSize };
}

/** For a platform whose addon is not here: a package without the binary. */
function packStandIn(target, version, to) {
  const folder = join(to, target.name);
  mkdirSync(folder);
  const { platform, arch, libc } = target;
  const manifest = { name: packageName(target), version, os: [platform], cpu: [arch], libc: libc && [libc] };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  return pack(folder, to);
}

/**
 * Packs the prebuilt packages: those of out/npm in this version for which `isWanted(target)`, stand-ins for the others.
 * @returns [name, path of the tarball] of each
 */
export function packNative(to, version, isWanted = () => true) {
  return TARGETS.map((target) => {
    const folder = join(ROOT, 'out', 'npm', target.name);
    const manifest = join(folder, 'package.json');
    const built = isWanted(target) && existsSync(manifest) && readJson(manifest).version === version;
    return [packageName(target), (built ? pack(folder, to) : packStandIn(target, version, to)).tarball];
  });
}

/**
 * A new folder with packages installed into it.
 * @param sources Map of name -> tarball of all our packages, so that none is looked for in a registry
 * @param install the names of those that the project depends on itself
 * @param devDependencies what it takes from the registry besides
 */
export function createProject(folder, sources, install, { devDependencies = {}, env } = {}) {
  mkdirSync(folder, { recursive: true });
  const dependencies = {};
  const overrides = {};
  for (const [name, tarball] of sources)
    (install.includes(name) ? dependencies : overrides)[name] = `file:${tarball}`;
  const manifest = { private: true, type: 'module', dependencies, devDependencies, overrides };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
  npm(['install', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline'], folder, env);
  return folder;
}
