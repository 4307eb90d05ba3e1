// Compiles the native addon with the C++ compiler found, into native/build/duobit.node. Nothing is downloaded: the headers
// of Node-API come from npm. A build is repeated only when sources, headers, flags or compiler have changed.
//
//   node scripts/build-native.mjs            build when a compiler is there; one line and success when none is
//   node scripts/build-native.mjs --require  fail when it cannot be built
//
// CXX names another compiler.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { FLAGS, machineFlags } from './native-flags.mjs';

const run = promisify(execFile);
const NATIVE = join(dirname(fileURLToPath(import.meta.url)), '..', 'native');
const BUILD = join(NATIVE, 'build');
const TARGET = join(BUILD, 'duobit.node');
const STAMP = join(BUILD, 'stamp');
const required = process.argv.includes('--require');
const say = (line) => console.log(`native addon: ${line}`);

const LINK =
  process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];

async function findCompiler() {
  for (const name of process.env.CXX ? [process.env.CXX] : ['g++', 'clang++', 'c++']) {
    try {
      const { stdout } = await run(name, ['--version']);
      return { name, version: stdout.split('\n')[0] };
    } catch {
      // not there; try the next
    }
  }
  return null;
}

function includeFlags() {
  const require = createRequire(import.meta.url);
  const api = dirname(require.resolve('node-api-headers/package.json'));
  const wrapper = dirname(require.resolve('node-addon-api/package.json'));
  return ['-isystem', join(api, 'include'), '-isystem', wrapper, '-DNAPI_VERSION=8', '-DNAPI_CPP_EXCEPTIONS'];
}

async function build() {
  const compiler = await findCompiler();
  if (!compiler) throw new Error(`no C++ compiler (${process.env.CXX ?? 'g++, clang++, c++'})`);
  if (process.platform === 'win32') throw new Error('not supported on Windows yet');
  const flags = [...FLAGS, ...includeFlags()];
  const files = (await readdir(NATIVE)).filter((name) => /\.(h|cpp)$/.test(name)).sort();
  const hash = createHash('sha256').update(
    JSON.stringify([compiler, flags, LINK, files.map(machineFlags), process.platform, process.arch]),
  );
  for (const name of files) hash.update(`\n${name}\n`).update(await readFile(join(NATIVE, name)));
  const stamp = hash.digest('hex');
  if (existsSync(TARGET) && existsSync(STAMP) && (await readFile(STAMP, 'utf8')) === stamp) {
    say('up to date');
    return;
  }
  // A folder of its own, and a rename at the end: two builds at once, or one that is stopped, do no harm.
  const work = join(BUILD, `work-${process.pid}`);
  await mkdir(work, { recursive: true });
  try {
    const waiting = files.filter((name) => name.endsWith('.cpp'));
    const objects = waiting.map((name) => join(work, `${basename(name, '.cpp')}.o`));
    const compileNext = async () => {
      for (let name = waiting.shift(); name; name = waiting.shift()) {
        const object = join(work, `${basename(name, '.cpp')}.o`);
        await run(compiler.name, [...flags, ...machineFlags(name), '-c', join(NATIVE, name), '-o', object]);
      }
    };
    await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, compileNext));
    await run(compiler.name, [...LINK, ...objects, '-o', join(work, 'duobit.node')]);
    await rm(STAMP, { force: true });
    await rename(join(work, 'duobit.node'), TARGET);
    await writeFile(STAMP, stamp);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  say(`built with ${compiler.version}`);
}

try {
  await build();
} catch (error) {
  const reason = (error.stderr || error.message).trim();
  if (required) {
    console.error(`native addon: ${reason}`);
    process.exitCode = 1;
  } else {
    say(`not built, the WebAssembly backend serves instead: ${reason.split('\n')[0]}`);
  }
}
