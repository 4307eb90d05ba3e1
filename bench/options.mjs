// Options of `npm run bench`.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readArguments } from './arguments.mjs';
import { BACKENDS } from './ours.mjs';
import { FILE_TYPES, VARIANTS } from './quantize-peers.mjs';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Tokens of a window of perplexity. */
export const WINDOW = 512;

const DEFAULT_MODEL = '.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';

const USAGE = `npm run bench -- [options]
  --peers                   compare with llama.cpp, ONNX Runtime and, in Chromium, wllama and transformers.js, installed
                            into .cache/peers
  --speed-only              neither perplexity nor Chromium nor kernels alone, on a page of its own
  --browser-only            Chromium and perplexity alone, on a page of its own, with --peers
  --quick                   2 rounds, 16 tokens, 2 threads, default mixtures only, little calibration
  --backends <list>         of ${BACKENDS.join(', ')}, for models; default all
  --threads <list>          thread counts, default 1,2
  --types <list>            of F16, ${Object.keys(FILE_TYPES).join(', ')}; default all
  --variants <list>         default, pure; default both
  --prompt <list>           prompt lengths, default 128,512; decode follows the first
  --decode <count>          tokens decoded in a round, default 64
  --repeats <count>         rounds, default 5; in Chromium 3 of them
  --model <file.gguf>       default ${DEFAULT_MODEL}
  --text <file>             for perplexity and prompts, default fixtures/stories/heldout.txt
  --windows <count>         windows of ${WINDOW} tokens for perplexity, default 8; 0 leaves it out
  --calibration <file>      default fixtures/stories/calibration.txt
  --calibration-windows <n> default 16
  --name <name>             of the record, default cpu-peers-<date>, cpu-speed- or browser-peers-
  --record                  write to docs/results instead of out/bench
Other measurements, with --help of their own: node bench/shapes.mjs, node bench/kernels.mjs`;

const text = { type: 'string' };
const flag = { type: 'boolean', default: false };

export function readOptions() {
  const values = readArguments(
    {
      peers: flag,
      quick: flag,
      'speed-only': flag,
      'browser-only': flag,
      record: flag,
      backends: text,
      threads: text,
      types: text,
      variants: text,
      prompt: text,
      decode: text,
      repeats: text,
      model: text,
      text,
      windows: text,
      calibration: text,
      'calibration-windows': text,
      name: text,
    },
    USAGE,
  );
  const { quick } = values;
  if (values['browser-only'] && (values['speed-only'] || !values.peers)) {
    throw new Error('--browser-only goes with --peers and without --speed-only');
  }
  const model = path.resolve(ROOT, values.model ?? DEFAULT_MODEL);
  if (!existsSync(model)) {
    const remedy = values.model ? '' : '; `node scripts/fetch-smollm2.mjs --source pypi` gets it';
    throw new Error(`${path.relative(process.cwd(), model)} is missing${remedy}`);
  }
  const types = ['F16', ...Object.keys(FILE_TYPES)];
  return {
    peers: values.peers,
    quick,
    speedOnly: values['speed-only'],
    browserOnly: values['browser-only'],
    backends: choose(values.backends, BACKENDS, values['browser-only'] ? ['wasm'] : BACKENDS),
    threads: readCounts('--threads', values.threads ?? (quick ? '2' : '1,2')),
    types: choose(values.types, types, types),
    variants: choose(values.variants, VARIANTS, quick || values['browser-only'] ? ['default'] : VARIANTS),
    prompts: readCounts('--prompt', values.prompt ?? '128,512'),
    decode: readCounts('--decode', values.decode ?? (quick ? '16' : '64'))[0],
    repeats: readCounts('--repeats', values.repeats ?? (quick ? '2' : '5'))[0],
    windows: values['speed-only'] ? 0 : readCounts('--windows', values.windows ?? '8', 0)[0],
    calibrationWindows: readCounts(
      '--calibration-windows',
      values['calibration-windows'] ?? (quick ? '4' : '16'),
    )[0],
    model,
    text: path.resolve(ROOT, values.text ?? 'fixtures/stories/heldout.txt'),
    calibration: path.resolve(ROOT, values.calibration ?? 'fixtures/stories/calibration.txt'),
    name: values.name ?? `${nameKind(values)}-${new Date().toISOString().slice(0, 10)}`,
    record: values.record,
  };
}

/** What a record of these options is of, which its name begins with. */
function nameKind(values) {
  if (values['browser-only']) return 'browser-peers';
  return values['speed-only'] ? 'cpu-speed' : 'cpu-peers';
}

function choose(value, known, standard) {
  const names = value?.split(',') ?? standard;
  const wrong = names.find((name) => !known.includes(name));
  if (wrong !== undefined) throw new Error(`${wrong} is none of ${known.join(', ')}`);
  return names;
}

/** A list of whole numbers. */
export function readCounts(name, value, least = 1) {
  const counts = value.split(',').map(Number);
  if (counts.some((count) => !Number.isInteger(count) || count < least)) {
    throw new Error(`${name} is ${value}; whole numbers from ${least} are expected`);
  }
  return counts;
}
