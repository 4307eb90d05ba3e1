// `duobit bench`: how fast this machine runs a model. Repeats of prefill and decode are interleaved, so that a
// machine that slows down half-way slows both; the median is given with its spread.
import { benchMatvec, createRandom, type Model, type Timings } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { benchNativeMatvec } from '@duobit/runtime-node';
import { type Command, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { describeMachine, formatMachine, readPeakRss } from '../machine.ts';
import { addBackendOptions, addExamples, addJsonOption, type BackendOptions, integer } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted, type Session, withSession } from '../session.ts';
import { type Spread, summarize } from '../spread.ts';
import { formatBytes, formatPairs, formatRate, plural } from '../text.ts';

const MATVEC_SIZE = 4096;
const MATVEC_GROUP = 128;
/** The matrix-vector benchmark of each backend that has one. */
const KERNELS: ReadonlyMap<string, typeof benchMatvec> = new Map([
  ['wasm', benchMatvec],
  ['native', benchNativeMatvec],
]);

interface Options extends BackendOptions {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly repeats: number;
  readonly json: boolean;
}

export function addBenchCommand(program: Command, context: Context): void {
  const command = program
    .command('bench')
    .description('Measure prefill and decode speed, the matrix-vector kernel and peak memory.')
    .argument('<model>', '.duo file, Hugging Face folder or .gguf file')
    .addOption(
      new Option('--prompt-tokens <count>', 'tokens of prefill in a repeat')
        .argParser(integer(1))
        .default(128),
    )
    .addOption(
      new Option('-n, --tokens <count>', 'tokens decoded in a repeat').argParser(integer(2)).default(32),
    )
    .addOption(
      new Option('--repeats <count>', 'interleaved repeats, after one to warm up')
        .argParser(integer(1))
        .default(5),
    )
    .action((path: string, options: Options) => runBench(context, path, options));
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(command, 'duobit bench tiny.duo', 'duobit bench tiny.duo --repeats 9 --json');
}

async function runBench(context: Context, path: string, options: Options): Promise<void> {
  const needed = options.promptTokens + options.tokens;
  await withSession(context, path, options, needed, async (session) => {
    const { model } = session;
    const progress = createProgress(context.io, { lines: { bench: 0 } });
    const prefills: number[] = [];
    const decodes: number[] = [];
    try {
      for (let repeat = 0; repeat <= options.repeats; repeat += 1) {
        const timings = await timeOnce(context, model, options);
        if (repeat > 0) {
          prefills.push(timings.prefillTokens / timings.prefillSeconds);
          decodes.push(timings.decodeTokens / timings.decodeSeconds);
        }
        progress.update('bench', repeat + 1, options.repeats + 1);
      }
    } finally {
      progress.stop();
    }
    const kernel = KERNELS.get(model.backendName);
    const matvec = kernel ? await measureMatvec(context, kernel) : null;
    report(context, session, options, summarize(prefills), summarize(decodes), matvec);
  });
}

/** One prefill and one decode of the same pseudo-random tokens every time; text would measure the same work. */
async function timeOnce(context: Context, model: Model, options: Options): Promise<Timings> {
  const random = createRandom(1);
  const tokens = Array.from({ length: options.promptTokens }, () =>
    Math.floor(random() * model.architecture.vocabularySize),
  );
  const events = model.generate(
    { tokens },
    { maxTokens: options.tokens, ignoreEos: true, signal: context.signal },
  );
  for await (const event of events) {
    if (event.kind === 'finish') {
      checkAborted(context.signal);
      return event.timings;
    }
  }
  throw new DuobitError('BENCH_INCOMPLETE', 'a repeat ended before its last token', {
    source: model.name,
    remedy: 'Run the command again',
  });
}

interface Matvec {
  readonly gweights: Spread;
  readonly gigabytes: Spread;
}

async function measureMatvec(context: Context, bench: typeof benchMatvec): Promise<Matvec> {
  const gweights: number[] = [];
  const gigabytes: number[] = [];
  for (let repeat = 0; repeat < 3; repeat += 1) {
    checkAborted(context.signal);
    const result = await bench({
      rows: MATVEC_SIZE,
      columns: MATVEC_SIZE,
      groupSize: MATVEC_GROUP,
      seconds: 0.4,
    });
    gweights.push(result.gweightsPerSecond);
    gigabytes.push(result.gigabytesPerSecond);
  }
  return { gweights: summarize(gweights), gigabytes: summarize(gigabytes) };
}

function report(
  context: Context,
  session: Session,
  options: Options,
  prefill: Spread,
  decode: Spread,
  matvec: Matvec | null,
): void {
  const machine = describeMachine();
  const peakBytes = readPeakRss();
  const { model } = session;
  const decodeGigabytes = (decode.median * model.weightBytes) / 1e9;
  const result = {
    prefill_tokens_per_second: prefill.median,
    prefill_spread: { minimum: prefill.minimum, maximum: prefill.maximum },
    decode_tokens_per_second: decode.median,
    decode_spread: { minimum: decode.minimum, maximum: decode.maximum },
    decode_gigabytes_per_second: decodeGigabytes,
    matvec_gweights_per_second: matvec?.gweights.median ?? null,
    matvec_spread: matvec && { minimum: matvec.gweights.minimum, maximum: matvec.gweights.maximum },
    matvec_gigabytes_per_second: matvec?.gigabytes.median ?? null,
    matvec_rows: MATVEC_SIZE,
    matvec_columns: MATVEC_SIZE,
    weight_bytes: model.weightBytes,
    peak_rss_bytes: peakBytes,
    prompt_tokens: options.promptTokens,
    tokens: options.tokens,
    repeats: options.repeats,
    model: model.name,
    backend: model.backendName,
    threads: model.threads,
    activations: session.activations,
    kv: model.kv,
    machine,
  };
  emit(context, options.json, result, () =>
    formatPairs([
      ['prefill', `${formatSpread(prefill)} tokens/s, ${options.promptTokens} tokens`],
      ['decode', `${formatSpread(decode)} tokens/s, ${options.tokens} tokens`],
      [
        'weights held',
        `${formatBytes(model.weightBytes)}; decode reads at most ${formatRate(decodeGigabytes)} GB/s of them`,
      ],
      [
        `matvec ${MATVEC_SIZE} x ${MATVEC_SIZE}`,
        matvec === null
          ? `not measured: the ${model.backendName} backend has no kernel of its own`
          : `${formatSpread(matvec.gweights)} G weights/s a thread, ${formatRate(matvec.gigabytes.median)} GB/s packed`,
      ],
      ['peak memory (RSS)', formatBytes(peakBytes)],
      [
        'run by',
        `${model.backendName}, ${plural(model.threads, 'thread')}, activations ${session.activations}, KV cache ${model.kv}`,
      ],
      ['machine', formatMachine(machine)],
    ]),
  );
}

function formatSpread({ median, minimum, maximum }: Spread): string {
  return `${formatRate(median)} (${formatRate(minimum)} to ${formatRate(maximum)})`;
}
