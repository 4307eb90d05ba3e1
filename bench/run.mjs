// `npm run bench`: prepares the files, measures ours and (with --peers) llama.cpp's in turns, each in a process of its
// own, and writes a record, a table and a plot. See README.md beside this file.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createTokenizer } from '@duobit/core';
import { accountSizes, openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { openCheckpoint } from '@duobit/quantizer';
import { runChild } from './child.mjs';
import { measureMatvec } from './matvec.mjs';
import { describePeerFile, makeContainer, makeF16, makeImportance, sha256 } from './models.mjs';
import { BACKENDS, hasBackend } from './ours.mjs';
import { installPeer } from './peers/setup.mjs';
import { drawPlot } from './plot.mjs';
import { FILE_TYPES, quantizePeer, VARIANTS } from './quantize-peers.mjs';
import { describeCommit, describeMachine, RECORD_SCHEMA, readLoad, watchProcessor } from './record.mjs';
import { formatPage } from './table.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const WINDOW = 512;
const USAGE = `npm run bench -- [options]
  --peers                   compare with llama.cpp and ONNX Runtime, installed into .cache/peers
  --quick                   2 rounds, 16 tokens, 2 threads, default mixtures only, little calibration
  --threads <list>          thread counts, default 1,2
  --types <list>            of F16, ${Object.keys(FILE_TYPES).join(', ')}; default all
  --variants <list>         default, pure; default both
  --prompt <list>           prompt lengths, default 128,512; decode follows the first
  --decode <count>          tokens decoded in a round, default 64
  --repeats <count>         rounds, default 5
  --model <file.gguf>       default .cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  --text <file>             for perplexity and prompts, default fixtures/stories/heldout.txt
  --windows <count>         windows of ${WINDOW} tokens for perplexity, default 8; 0 leaves it out
  --calibration <file>      default fixtures/stories/calibration.txt
  --calibration-windows <n> default 16
  --name <name>             of the record, default cpu-peers-<date>
  --record                  write to docs/results instead of out/bench`;

const log = (line) => process.stderr.write(`${line}\n`);

function readOptions() {
  const text = { type: 'string' };
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    options: {
      peers: flag,
      quick: flag,
      record: flag,
      help: flag,
      ...Object.fromEntries(
        ['threads', 'types', 'variants', 'prompt', 'decode', 'repeats', 'model', 'text', 'windows'].map(
          (name) => [name, text],
        ),
      ),
      calibration: text,
      'calibration-windows': text,
      name: text,
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const { quick } = values;
  const choose = (value, known, standard) => {
    const names = value?.split(',') ?? standard;
    const wrong = names.find((name) => !known.includes(name));
    if (wrong !== undefined) throw new Error(`${wrong} is none of ${known.join(', ')}`);
    return names;
  };
  const types = ['F16', ...Object.keys(FILE_TYPES)];
  return {
    peers: values.peers,
    quick,
    threads: readCounts('--threads', values.threads ?? (quick ? '2' : '1,2')),
    types: choose(values.types, types, types),
    variants: choose(values.variants, VARIANTS, quick ? ['default'] : VARIANTS),
    prompts: readCounts('--prompt', values.prompt ?? '128,512'),
    decode: readCounts('--decode', values.decode ?? (quick ? '16' : '64'))[0],
    repeats: readCounts('--repeats', values.repeats ?? (quick ? '2' : '5'))[0],
    windows: readCounts('--windows', values.windows ?? '8', 0)[0],
    calibrationWindows: readCounts(
      '--calibration-windows',
      values['calibration-windows'] ?? (quick ? '4' : '16'),
    )[0],
    model: path.resolve(ROOT, values.model ?? '.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'),
    text: path.resolve(ROOT, values.text ?? 'fixtures/stories/heldout.txt'),
    calibration: path.resolve(ROOT, values.calibration ?? 'fixtures/stories/calibration.txt'),
    name: values.name ?? `cpu-peers-${new Date().toISOString().slice(0, 10)}`,
    record: values.record,
  };
}

function readCounts(name, value, least = 1) {
  const counts = value.split(',').map(Number);
  if (counts.some((count) => !Number.isInteger(count) || count < least)) {
    throw new Error(`${name} is ${value}; whole numbers from ${least} are expected`);
  }
  return counts;
}

/** Everything that is measured: a file, and how it is opened. What cannot be is pushed to `skipped`. */
async function prepareSubjects(options, f16, calibration, skipped) {
  const subjects = [];
  const container = await makeContainer(f16, calibration, log);
  const sizes = await describeContainer(container);
  for (const backend of BACKENDS) {
    if (!hasBackend(backend)) {
      skipped.push({ name: `duobit, backend ${backend}`, reason: 'this build does not have the backend' });
      continue;
    }
    for (const activations of ['a4', 'f16']) {
      const short = `W(1+1)${activations === 'a4' ? 'A4' : 'A16'} ${backend}`;
      subjects.push({
        id: `duobit-${backend}-${activations}`,
        engine: 'duobit',
        label: `**Duobit ${short}**`,
        short,
        file: container,
        open: { backend, activations },
        ...sizes,
      });
    }
  }
  if (!options.peers) {
    skipped.push({ name: 'llama.cpp, onnxruntime', reason: 'not asked for (--peers)' });
    return { subjects, peers: {} };
  }
  const { versions, reason } = installPeer('llama.cpp', log);
  if (reason !== undefined) {
    skipped.push({ name: 'llama.cpp', reason });
    return { subjects, peers: {} };
  }
  const imatrix = await makeImportance(f16, calibration, log);
  for (const type of options.types) {
    for (const variant of type === 'F16' ? ['default'] : options.variants) {
      const short = variant === 'pure' ? `${type} pure` : type;
      try {
        const file =
          type === 'F16'
            ? f16
            : await quantizePeer({ f16, type, variant, imatrix, threads: Math.max(...options.threads) }, log);
        subjects.push({
          id: `llama.cpp-${type}-${variant}`,
          engine: 'llama.cpp',
          label: `llama.cpp ${short}`,
          short,
          file,
          open: {},
          ...(await describePeerFile(file)),
        });
      } catch (error) {
        skipped.push({ name: `llama.cpp ${short}`, reason: error.message.split('\n')[0] });
      }
    }
  }
  return { subjects, peers: { 'llama.cpp': versions } };
}

/** What `describePeerFile` says of a GGUF file, of one of ours. */
async function describeContainer(file) {
  const source = await createFileSource(file);
  try {
    const { manifest } = await openContainer(source);
    const { fileBytes, linear, bitsPerWeightFile } = accountSizes(manifest);
    const types = {};
    for (const { shape, encoding } of manifest.tensors) {
      if (shape.length < 2) continue;
      types[encoding.kind] = (types[encoding.kind] ?? 0) + shape[0] * shape[1];
    }
    return { fileBytes, bitsPerWeight: bitsPerWeightFile, linearBitsPerWeight: linear.bitsPerWeight, types };
  } finally {
    await source.close();
  }
}

/** Rounds over all files; a file that fails is skipped from then on, with its reason, and the others go on. */
async function measureSpeeds(options, subjects, job, skipped) {
  const runs = [];
  const failed = new Set();
  for (const threads of options.threads) {
    for (let round = 1; round <= options.repeats; round += 1) {
      for (const subject of subjects.filter(({ id }) => !failed.has(`${id} ${threads}`))) {
        try {
          runs.push({
            subject: subject.id,
            threads,
            round,
            ...(await measureRun(subject, { threads, ...job })),
          });
        } catch (error) {
          failed.add(`${subject.id} ${threads}`);
          skipped.push({
            name: `${subject.short}, threads ${threads}`,
            reason: error.message.split('\n')[0],
          });
          continue;
        }
        const { decode, coresElsewhere } = runs.at(-1);
        log(
          `threads ${threads}, round ${round}: ${subject.short}: decode ${decode.toFixed(2)}, others used ${coresElsewhere.toFixed(2)} cores`,
        );
      }
    }
  }
  return runs;
}

/** One file in one process. */
async function measureRun(subject, { threads, openOptions, tokens, prompts, decode }) {
  const watch = watchProcessor();
  const { library, ...measured } = await runChild(WORKER, {
    task: 'speed',
    engine: subject.engine,
    open: { ...openOptions, ...subject.open, file: subject.file, threads },
    tokens,
    prompts,
    decode,
  });
  const { busySeconds, wallSeconds } = watch.stop();
  if (library !== null) subject.library = library;
  const coresElsewhere = Math.max(0, (busySeconds - measured.cpuSeconds) / wallSeconds);
  return { ...measured, wallSeconds, coresElsewhere };
}

/**
 * Not timed, so as many files are run at once as there are cores, each on one thread: none then waits for another's
 * threads on a busy machine.
 */
async function measurePerplexities(subjects, windows, openOptions, skipped) {
  const waiting = [...subjects];
  const work = async () => {
    for (let subject = waiting.shift(); subject !== undefined; subject = waiting.shift()) {
      try {
        const { perplexity } = await runChild(WORKER, {
          task: 'perplexity',
          engine: subject.engine,
          open: { ...openOptions, ...subject.open, file: subject.file, threads: 1 },
          windows,
        });
        subject.perplexity = perplexity;
        log(`perplexity of ${subject.short}: ${perplexity.toFixed(3)}`);
      } catch (error) {
        skipped.push({ name: `perplexity of ${subject.short}`, reason: error.message.split('\n')[0] });
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

async function run() {
  const options = readOptions();
  const started = new Date().toISOString();
  const loadAtStart = readLoad();
  const commit = describeCommit();
  const skipped = [
    { name: 'wllama in Chromium', reason: 'not part of this benchmark yet (see bench/README.md)' },
  ];
  const f16 = await makeF16(options.model, log);
  const calibrationText = readFileSync(options.calibration, 'utf8');
  const calibration = { text: calibrationText, maxWindows: options.calibrationWindows };
  const { subjects, peers } = await prepareSubjects(options, f16, calibration, skipped);

  const checkpoint = await openCheckpoint(f16);
  const text = readFileSync(options.text, 'utf8');
  const tokens = (await createTokenizer(checkpoint)).encode(text, { bos: false });
  const { vocabularySize } = checkpoint.architecture;
  await checkpoint.close();
  const longest = Math.max(...options.prompts, options.prompts[0] + options.decode);
  if (tokens.length < longest) throw new Error(`the text has ${tokens.length} tokens; ${longest} are needed`);
  const windowCount = Math.min(options.windows, Math.floor(tokens.length / WINDOW));
  const windows = Array.from({ length: windowCount }, (_, i) => tokens.slice(i * WINDOW, (i + 1) * WINDOW));

  const contextLength = Math.max(longest, WINDOW);
  const openOptions = { contextLength, vocabularySize };
  const { prompts, decode } = options;
  const job = { openOptions, tokens: tokens.slice(0, longest), prompts, decode };
  const runs = await measureSpeeds(options, subjects, job, skipped);
  if (runs.length === 0) throw new Error(`nothing could be measured: ${skipped.at(-1).reason}`);
  if (windowCount > 0) await measurePerplexities(subjects, windows, openOptions, skipped);
  let matvec = [];
  if (options.peers) {
    const installed = installPeer('onnxruntime', log);
    if (installed.versions !== undefined) peers.onnxruntime = installed.versions;
    matvec = await measureMatvec(installed, skipped, log);
  }

  const { peers: _, model, text: __, calibration: ___, record: isKept, name, ...kept } = options;
  const record = {
    schema: RECORD_SCHEMA,
    kind: 'cpu-peers',
    started,
    ended: new Date().toISOString(),
    ...commit,
    machine: describeMachine(),
    load: { start: loadAtStart, end: readLoad() },
    options: { ...kept, contextLength },
    model: path.basename(model),
    text: { name: path.basename(options.text), sha256: sha256(text), windows: windowCount, context: WINDOW },
    calibration: {
      name: path.basename(options.calibration),
      sha256: sha256(calibrationText),
      windows: options.calibrationWindows,
    },
    peers,
    subjects: subjects.map(({ file, open, ...subject }) => ({ ...subject, file: path.basename(file) })),
    runs,
    matvec,
    skipped,
  };
  writeResults(record, name, isKept);
}

function writeResults(record, name, isKept) {
  const folder = path.join(ROOT, isKept ? 'docs/results' : 'out/bench');
  mkdirSync(path.join(folder, 'records'), { recursive: true });
  writeFileSync(path.join(folder, `records/${name}.json`), `${JSON.stringify(record, null, 1)}\n`);
  writeFileSync(path.join(folder, 'cpu-peers.svg'), drawPlot(record));
  const page = formatPage(record, { source: `records/${name}.json`, plot: 'cpu-peers.svg' });
  writeFileSync(path.join(folder, 'cpu-peers.md'), page);
  console.log(page);
  log(`written: ${path.relative(ROOT, folder)}/cpu-peers.md, cpu-peers.svg and records/${name}.json`);
}

try {
  await run();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
