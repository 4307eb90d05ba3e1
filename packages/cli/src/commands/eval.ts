// `duobit eval ppl`: perplexity of a text, the same code for quantized and unquantized models.
import { evaluatePerplexity, type PerplexityReport } from '@duobit/quantizer';
import { type Command, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { readText } from '../files.ts';
import { addBackendOptions, addExamples, addJsonOption, type BackendOptions, integer } from '../options.ts';
import { createProgress } from '../progress.ts';
import { withSession } from '../session.ts';
import { formatCount, formatPairs, plural } from '../text.ts';

interface Options extends BackendOptions {
  readonly text: string;
  readonly context: number;
  readonly maxWindows?: number;
  readonly json: boolean;
}

export function addEvalCommand(program: Command, context: Context): void {
  const group = program.command('eval').description('Measure the quality of a model.');
  addExamples(group, 'duobit eval ppl tiny.duo --text fixtures/stories/heldout.txt --max-windows 4');
  const command = group
    .command('ppl')
    .description('Perplexity over consecutive windows of a text, without overlap.')
    .argument('<model>', '.duo file, Hugging Face folder or .gguf file')
    .requiredOption('--text <file>', 'plain UTF-8 text')
    .addOption(
      new Option('--context <tokens>', 'tokens a window; all but the first are predicted')
        .argParser(integer(2))
        .default(512),
    )
    .addOption(new Option('--max-windows <count>', 'stop after this many windows').argParser(integer(1)))
    .action((path: string, options: Options) => runPerplexity(context, path, options));
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(command, 'duobit eval ppl tiny.duo --text fixtures/stories/heldout.txt --max-windows 4');
}

async function runPerplexity(context: Context, path: string, options: Options): Promise<void> {
  const text = await readText(options.text, '--text');
  await withSession(context, path, options, options.context, async (session) => {
    const { model } = session;
    const progress = createProgress(context.io, { lines: { evaluate: 5 } });
    let report: PerplexityReport;
    try {
      report = await evaluatePerplexity(model, text, {
        context: options.context,
        ...(options.maxWindows === undefined ? {} : { maxWindows: options.maxWindows }),
        signal: context.signal,
        onProgress: ({ done, total, perplexity }) =>
          progress.update('evaluate', done, total, `perplexity ${perplexity.toFixed(4)}`),
      });
    } finally {
      progress.stop();
    }
    const hash = await session.hash();
    const result = {
      perplexity: report.perplexity,
      nll: report.nll,
      tokens: report.tokens,
      windows: report.windows,
      context: report.context,
      max_windows: options.maxWindows ?? null,
      text: options.text,
      model: model.name,
      model_sha256: hash.sha256,
      model_sha256_of: hash.of,
      backend: model.backendName,
      threads: model.threads,
      activations: session.activations,
      kv: model.kv,
      seconds: report.seconds,
    };
    emit(context, options.json, result, () =>
      formatPairs([
        ['perplexity', report.perplexity.toFixed(4)],
        ['nats a token', report.nll.toFixed(5)],
        [
          'predicted tokens',
          `${formatCount(report.tokens)} in ${plural(report.windows, 'window')} of ${report.context}`,
        ],
        ['model', `${model.name}, SHA-256 of ${hash.of} ${hash.sha256}`],
        [
          'run by',
          `${model.backendName}, ${plural(model.threads, 'thread')}, activations ${session.activations}, KV cache ${model.kv}`,
        ],
        ['time', `${report.seconds.toFixed(1)} s`],
      ]),
    );
  });
}
