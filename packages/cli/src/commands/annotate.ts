// `duobit annotate`: what every byte of a container is, one line a run of bytes.
import { basename } from 'node:path';
import { type Annotation, annotateContainer, type ByteSource, toHex } from '@duobit/format';
import { type Command, InvalidArgumentError } from 'commander';
import type { Context } from '../context.ts';
import { openModelFile } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { checkAborted } from '../session.ts';

interface Range {
  readonly start: number;
  readonly end: number;
}

interface Options {
  readonly range?: Range;
  readonly dataFile?: string;
  readonly json: boolean;
}

/** Text that is gathered before it is written. */
const BATCH = 65_536;

/** `start:end`, decimal or 0x, either side may be empty; the end is not included. */
function parseRange(text: string): Range {
  const [, first = '', last = ''] = /^(0x[0-9a-f]+|\d*):(0x[0-9a-f]+|\d*)$/i.exec(text) ?? [];
  const start = Number(first);
  const end = last === '' ? Number.MAX_SAFE_INTEGER : Number(last);
  if (!text.includes(':') || (first === '' && last === '') || !(Number.isSafeInteger(end) && start < end)) {
    throw new InvalidArgumentError('Give start:end in bytes, such as 0:128, 0x80:0x200 or 16384:.');
  }
  return { start, end };
}

export function addAnnotateCommand(program: Command, context: Context): void {
  const command = program
    .command('annotate')
    .description('Print what every byte of a container is: offset, length, first bytes, meaning.')
    .argument('<file>', '.duo file')
    .option('--range <start:end>', 'only runs that touch these bytes; the end is not included', parseRange)
    .option('--data-file <name>', 'annotate this data file of the model instead of its header file')
    .action((path: string, options: Options) => runAnnotate(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit annotate tiny.duo --range 0:128', 'duobit annotate tiny.duo --json');
}

async function runAnnotate(context: Context, path: string, options: Options): Promise<void> {
  const headerSource = await openModelFile(context, path, { store: false });
  const sources: ByteSource[] = [headerSource];
  try {
    const { dataFile } = options;
    if (dataFile !== undefined) sources.push(await headerSource.openBeside!(basename(dataFile)));
    const source = sources.at(-1)!;
    const runs = annotateContainer(source, {
      ...options.range,
      ...(dataFile === undefined ? {} : { dataFile: { name: dataFile, headerSource } }),
    });
    await (options.json ? writeJson(context, source, runs) : writeText(context, runs));
  } finally {
    for (const source of sources) await source.close();
  }
}

type Runs = AsyncGenerator<Annotation, void>;

async function writeText(context: Context, runs: Runs): Promise<void> {
  await writeParts(context, runs, ({ offset, length, kind, bytes, where, meaning }) => {
    const hex = toHex(bytes).replace(/..(?!$)/g, '$& ');
    const shown = length > bytes.length ? `${hex} ..` : hex;
    // The meaning of data says where it belongs already.
    const place = where === '' || kind === 'plane' || kind === 'asset' ? '' : `  ${where}`;
    return `${offset.toString(16).padStart(8, '0')} ${String(length).padStart(8)}  ${shown.padEnd(50)}  ${meaning}${place}\n`;
  });
}

/** One object, written as it is made: a large header has more runs than one string can hold. */
async function writeJson(context: Context, source: ByteSource, runs: Runs): Promise<void> {
  const head = JSON.stringify({ file: source.name, file_bytes: source.size }, null, 2).slice(0, -2);
  let separator = `${head},\n  "runs": [\n`;
  await writeParts(context, runs, ({ offset, length, kind, where, meaning, bytes }) => {
    const line = `${separator}    ${JSON.stringify({ offset, length, kind, where, meaning, hex: toHex(bytes) })}`;
    separator = ',\n';
    return line;
  });
  context.io.stdout.write(separator === ',\n' ? '\n  ]\n}\n' : `${separator}  ]\n}\n`);
}

async function writeParts(context: Context, runs: Runs, format: (run: Annotation) => string): Promise<void> {
  const { stdout } = context.io;
  let text = '';
  for await (const run of runs) {
    checkAborted(context.signal);
    text += format(run);
    if (text.length < BATCH) continue;
    // A pipe that is read slowly must not fill the memory.
    if (!stdout.write(text)) await nextDrain(context);
    text = '';
  }
  stdout.write(text);
}

function nextDrain({ io, signal }: Context): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      io.stdout.removeListener('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    io.stdout.once('drain', done);
    signal.addEventListener('abort', done);
  });
}
