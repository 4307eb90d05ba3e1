// Decode of models with the shapes of 1B and 3B against the bandwidth floor: the time in which the machine could read
// the model's weights once. Random weights; the native backend; both measured in turns. `--help` lists the options.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRandom } from '@duobit/core';
import { readArguments } from './arguments.mjs';
import { prepareBandwidth } from './bandwidth.mjs';
import { runChild } from './child.mjs';
import { CACHE, makeOnce } from './models.mjs';
import { readCounts } from './options.mjs';
import { hasBackend } from './ours.mjs';
import { describeShape, SHAPES, writeRandomContainer } from './random-container.mjs';
import { describeRun, watchProcessor } from './record.mjs';
import { formatShapesPage } from './shapes-page.mjs';
import { describeContainer } from './subjects.mjs';
import { writePage } from './write-page.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const PROMPT = 16;
/** Of the containers; a new one makes new files. */
const VERSION = 1;
const USAGE = `node bench/shapes.mjs [options]       after npm run build; about 3 minutes and 2 GB in .cache/bench
  --shapes <list>    of ${Object.keys(SHAPES).join(', ')}; default all
  --threads <list>   default 1,2
  --repeats <count>  rounds, default 3
  --decode <count>   tokens decoded in a round, default 32
  --name <name>      of the record, default shapes-<date>
  --record           write to docs/results instead of out/bench`;

const log = (line) => process.stderr.write(`${line}\n`);

function readOptions() {
  const text = { type: 'string' };
  const flag = { type: 'boolean', default: false };
  const values = readArguments(
    {
      shapes: text,
      threads: text,
      repeats: text,
      decode: text,
      name: text,
      record: flag,
    },
    USAGE,
  );
  const shapes = values.shapes?.split(',') ?? Object.keys(SHAPES);
  const wrong = shapes.find((name) => !Object.hasOwn(SHAPES, name));
  if (wrong !== undefined) throw new Error(`${wrong} is none of ${Object.keys(SHAPES).join(', ')}`);
  return {
    shapes,
    threads: readCounts('--threads', values.threads ?? '1,2'),
    repeats: readCounts('--repeats', values.repeats ?? '3')[0],
    decode: readCounts('--decode', values.decode ?? '32')[0],
    name: values.name ?? `shapes-${new Date().toISOString().slice(0, 10)}`,
    record: values.record,
  };
}

async function makeSubject(shape) {
  const architecture = describeShape(shape);
  const file = await makeOnce(
    path.join(CACHE, `random-${shape}.duo`),
    { architecture, VERSION },
    async (to) => {
      log(`writing random weights in the shape of ${shape}`);
      await writeRandomContainer(architecture, to);
    },
  );
  return {
    id: shape,
    engine: 'duobit',
    label: shape,
    short: shape,
    file,
    ...(await describeContainer(file)),
  };
}

async function run() {
  const { name, record: isKept, ...options } = readOptions();
  if (!hasBackend('native')) throw new Error('this build or machine does not have the native backend');
  const describe = describeRun();
  const skipped = [];
  const bandwidth = prepareBandwidth();
  if (bandwidth.reason !== undefined) skipped.push({ name: 'bandwidth floor', reason: bandwidth.reason });
  const { vocabularySize } = describeShape(options.shapes[0]);
  const random = createRandom(1);
  const tokens = Array.from({ length: PROMPT + options.decode }, () => Math.floor(random() * vocabularySize));
  const subjects = [];
  const runs = [];
  for (const shape of options.shapes) {
    const { file, ...subject } = await makeSubject(shape);
    subjects.push(subject);
    for (const threads of options.threads) {
      for (let round = 1; round <= options.repeats; round += 1) {
        const watch = watchProcessor();
        const { library, ...measured } = await runChild(WORKER, {
          task: 'speed',
          engine: 'duobit',
          open: {
            backend: 'native',
            activations: 'a4',
            file,
            threads,
            contextLength: tokens.length,
            vocabularySize,
          },
          tokens,
          prompts: [PROMPT],
          decode: options.decode,
        });
        const { busySeconds, wallSeconds } = watch.stop();
        const coresElsewhere = Math.max(0, (busySeconds - measured.cpuSeconds) / wallSeconds);
        const readBytesPerSecond = bandwidth.measure?.(measured.weightBytes, threads) ?? null;
        runs.push({
          subject: shape,
          threads,
          round,
          ...measured,
          wallSeconds,
          coresElsewhere,
          readBytesPerSecond,
        });
        const floor =
          readBytesPerSecond === null
            ? ''
            : `, floor ${(readBytesPerSecond / measured.weightBytes).toFixed(2)}`;
        log(`${shape}, threads ${threads}, round ${round}: decode ${measured.decode.toFixed(2)}${floor}`);
      }
    }
  }
  const record = {
    ...describe('shapes'),
    options: { ...options, prompts: [PROMPT] },
    subjects,
    runs,
    skipped,
  };
  writePage(record, { name, isKept, page: 'shapes.md', format: formatShapesPage });
}

try {
  await run();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
