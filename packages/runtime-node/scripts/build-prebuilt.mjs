// Builds the addon for every platform of native-targets.mjs on this machine, each as a package ready for `npm publish`
// in out/npm/<target>. The compiler is Zig's, which carries the C and C++ libraries of all of them and comes from PyPI.
//
//   node scripts/build-prebuilt.mjs [target …]   default: all
//   node scripts/build-prebuilt.mjs --check      only look whether all are there, in this version
//
// ZIG names another zig (0.15 or newer); without it the pinned one is installed into .cache/zig-<version> once, by pip.
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, run } from './native-compile.mjs';
import { FLAGS, headerFlags, headerFolders, machineFlags } from './native-flags.mjs';
import { packageName, TARGETS } from './native-targets.mjs';

const ZIG_VERSION = '0.17.1';
const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), '..');
const ROOT = join(PACKAGE, '..', '..');
const OUT = join(ROOT, 'out', 'npm');
const { version, engines, license, repository, publishConfig } = JSON.parse(
  readFileSync(join(PACKAGE, 'package.json'), 'utf8'),
);

async function findZig() {
  if (process.env.ZIG) return process.env.ZIG.split(' ');
  const folder = join(ROOT, '.cache', `zig-${ZIG_VERSION}`);
  const python = join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  const zig = [python, '-m', 'ziglang'];
  if (!existsSync(python)) {
    await run(['python3', '-m', 'venv', folder]);
    await run([python, '-m', 'pip', 'install', '--quiet', `ziglang==${ZIG_VERSION}`]);
  }
  return zig;
}

/** What the linker wants beside the objects. On Linux nothing but the entry points is exported, so as not to mix with Node's own C++. */
async function linkFlags(zig, target, folder) {
  if (target.platform === 'darwin') return ['-dynamiclib', '-undefined', 'dynamic_lookup', '-s'];
  if (target.platform === 'win32') {
    // Node-API's functions are exports of node.exe; an import library stands for it.
    const library = join(folder, 'node.lib');
    const definitions = join(headerFolders()[0], '..', 'def', 'node_api.def');
    await run(zig, ['dlltool', '-m', 'i386:x86-64', '-d', definitions, '-l', library]);
    return ['-shared', '-s', library];
  }
  const script = join(folder, 'exports.map');
  await writeFile(
    script,
    '{ global: napi_register_module_v1; node_api_module_get_api_version_v1; local: *; };\n',
  );
  return ['-shared', '-pthread', '-s', `-Wl,--version-script=${script}`];
}

async function build(zig, target) {
  const compiler = [...zig, 'c++', '-target', target.zig];
  const folder = join(ROOT, 'out', 'prebuilt', target.name);
  const objects = await compile({
    compiler,
    flags: [...FLAGS, ...headerFlags(), '-g0'],
    processor: target.arch,
    folder,
    // Zig names processors and their features, never architectures.
    machine: (file, processor) =>
      machineFlags(file, processor).map((flag) => flag.replace('-march=armv8.2-a', '-mcpu=generic')),
  });
  const made = join(OUT, target.name);
  await rm(made, { recursive: true, force: true });
  await mkdir(made, { recursive: true });
  const link = await linkFlags(zig, target, folder);
  await run(compiler, [...objects, ...link, '-o', join(made, 'duobit.node')]);
  const manifest = {
    name: packageName(target),
    version,
    description: `The native backend of @duobit/runtime-node for ${target.name}.`,
    license,
    repository,
    engines,
    os: [target.platform],
    cpu: [target.arch],
    ...(target.libc ? { libc: [target.libc] } : {}),
    files: ['duobit.node', 'LICENSE.node-addon-api.md'],
    publishConfig,
    preferUnplugged: true,
  };
  await writeFile(join(made, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  await writeFile(
    join(made, 'README.md'),
    `# ${packageName(target)}\n\n${manifest.description} Installed with it where it fits; there is no need to name it.\n`,
  );
  await copyFile(join(ROOT, 'LICENSE'), join(made, 'LICENSE'));
  await copyFile(join(headerFolders()[1], 'LICENSE.md'), join(made, 'LICENSE.node-addon-api.md'));
  await rm(folder, { recursive: true });
  console.log(`${packageName(target)} ${version}: out/npm/${target.name}`);
}

/** Names of packages that are missing or of another version. */
function listMissing() {
  return TARGETS.filter((target) => {
    const path = join(OUT, target.name, 'package.json');
    return !existsSync(path) || JSON.parse(readFileSync(path, 'utf8')).version !== version;
  }).map(packageName);
}

async function main(names) {
  if (names.includes('--check')) {
    const missing = listMissing();
    if (missing.length > 0)
      throw new Error(`not built for ${version}: ${missing.join(', ')}; run npm run build:prebuilt`);
    return;
  }
  const known = TARGETS.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new Error(`no such target: ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const zig = await findZig();
  for (const target of TARGETS)
    if (names.length === 0 || names.includes(target.name)) await build(zig, target);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`prebuilt packages: ${error.message}`);
  process.exitCode = 1;
}
