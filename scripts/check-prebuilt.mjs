// Checks that the native backend reaches those who install from a registry: packs the packages, installs them into an empty
// folder with no compiler in sight, and runs a model. Then the same with the prebuilt package gone (wasm, one line of
// notice), and with the addon built from the installed sources, by our own command and by node-gyp. Needs a build, a C++
// compiler, and network for the packages of others. Linux on x64 only, as CI is.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { TARGETS } from '../packages/runtime-node/scripts/native-targets.mjs';
import { createProject, NPM, pack, packNative, ROOT, readJson } from './packages/workspace.mjs';

const HERE = TARGETS.find(({ name }) => name === `${process.platform}-${process.arch}`);
if (HERE?.name !== 'linux-x64') throw new Error('this check runs on Linux, x64');
const work = mkdtempSync(join(tmpdir(), 'duobit-install-'));
const model = join(work, 'model.duo');
const RUN = `
  import { loadModel, nativeSupport } from '@duobit/runtime-node';
  const model = await loadModel(${JSON.stringify(model)}, { contextLength: 8 });
  const logits = await model.forward([1, 2, 3]);
  await model.dispose();
  if (!logits.every(Number.isFinite)) throw new Error('the logits are not finite');
  console.log(JSON.stringify({ backend: model.backendName, path: nativeSupport().path ?? null }));`;

const project = join(work, 'project');
const bin = join(work, 'bin');
/** Nothing but Node and a shell. */
const bare = { ...process.env, PATH: bin, DUOBIT_NATIVE: '', DUOBIT_ISA: '' };

/** Runs the model in the project and compares. */
function check(what, backend, addon, notices) {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', RUN], {
    cwd: project,
    env: bare,
    encoding: 'utf8',
  });
  const lines = stderr.split('\n').filter(Boolean);
  const found = status === 0 ? JSON.parse(stdout) : null;
  const right =
    found?.backend === backend && (addon === null ? found.path === null : found.path?.includes(addon));
  if (!right || lines.length !== notices)
    throw new Error(`${what}: expected ${backend}, ${notices} lines of notice; it gave ${stdout}${stderr}`);
  console.log(`${what}: ${backend}${lines.length > 0 ? `, "${lines[0]}"` : ''}`);
}

const { version } = readJson(join(ROOT, 'packages/runtime-node/package.json'));
try {
  execFileSync(
    process.execPath,
    [join(ROOT, 'packages/runtime-node/scripts/build-prebuilt.mjs'), HERE.name],
    { stdio: 'inherit' },
  );
  const quantize = [
    join(ROOT, 'packages/cli/bin/duobit.mjs'),
    'quantize',
    join(ROOT, 'fixtures/tinystories-656k'),
  ];
  execFileSync(process.execPath, [...quantize, '-o', model], { stdio: 'ignore' });
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, 'node'));
  symlinkSync('/bin/sh', join(bin, 'sh'));
  const ours = ['format', 'core', 'runtime-web', 'runtime-node'].map((name) => [
    `@duobit/${name}`,
    pack(join(ROOT, 'packages', name), work).tarball,
  ]);
  // For the other platforms a package without the binary will do: it must not be installed.
  const native = packNative(work, version, (target) => target === HERE);
  createProject(project, [...ours, ...native], ['@duobit/runtime-node'], { env: bare });
  const scope = join(project, 'node_modules', '@duobit');
  const installed = readdirSync(scope).filter((name) => name.startsWith('native-'));
  if (installed.join() !== `native-${HERE.name}`) throw new Error(`npm installed ${installed}`);

  check('installed', 'native', `native-${HERE.name}`, 0);
  rmSync(join(scope, `native-${HERE.name}`), { recursive: true });
  check('without the prebuilt package', 'wasm', null, 1);
  const home = join(scope, 'runtime-node');
  execFileSync(join(project, 'node_modules', '.bin', 'duobit-build-native'), {
    cwd: project,
    stdio: 'inherit',
  });
  check('built from source', 'native', 'native/build/duobit.node', 0);
  const gyp = join(dirname(NPM), '..', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
  const prefix = join(dirname(realpathSync(process.execPath)), '..');
  const headers = existsSync(join(prefix, 'include', 'node')) ? [`--nodedir=${prefix}`] : [];
  execFileSync(process.execPath, [gyp, 'rebuild', '-C', 'native', '--silent', ...headers], {
    cwd: home,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  check('built by node-gyp', 'native', 'native/build/Release/duobit.node', 0);
} finally {
  rmSync(work, { recursive: true, force: true });
}
