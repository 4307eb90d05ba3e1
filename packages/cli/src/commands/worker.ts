// `duobit worker`: trains blocks for runs of `duobit quantize --queue`.
import { openCheckpoint, runQueueWorker } from '@duobit/quantizer';
import { DEVICES, type Device } from '@duobit/tfjs';
import { type Command, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { addExamples, addJsonOption, decimal, integer } from '../options.ts';
import { plural } from '../text.ts';
import { openTraining } from './quantize.ts';

interface Options {
  readonly queue: string;
  readonly device: Device | 'auto';
  readonly threads?: number;
  readonly lease: number;
  readonly json: boolean;
}

export function addWorkerCommand(program: Command, context: Context): void {
  const command = program
    .command('worker')
    .description('Train blocks for duobit quantize --queue, until Ctrl-C or SIGTERM.')
    .argument('<checkpoint>', 'the same checkpoint as the run has: Hugging Face folder or .gguf file')
    .requiredOption('--queue <url>', 'where runs leave their blocks: redis://host:port[/name]')
    .addOption(
      new Option('--device <name>', 'trains; the same as the run has')
        .choices(['auto', ...DEVICES])
        .default('auto'),
    )
    .addOption(new Option('--threads <count>', 'threads of the device native').argParser(integer(1)))
    .addOption(
      new Option(
        '--lease <seconds>',
        'without a sign of life for so long, its block goes to another worker; more than a step of training takes',
      )
        .argParser(decimal(0.5))
        .default(120),
    )
    .action((checkpoint: string, options: Options) => runWorker(context, checkpoint, options));
  addJsonOption(command);
  addExamples(command, 'duobit worker model --queue redis://10.0.0.5:6379 --device native');
}

async function runWorker(context: Context, path: string, options: Options): Promise<void> {
  const started = performance.now();
  const checkpoint = await openCheckpoint(path);
  try {
    const engine = await openTraining(context, options.device, options);
    const blocks = await runQueueWorker({
      checkpoint,
      engine,
      url: options.queue,
      lease: options.lease,
      signal: context.signal,
      onNotice: (line) => note(context, line),
    });
    const seconds = (performance.now() - started) / 1000;
    emit(context, options.json, { blocks, seconds }, () => `trained ${plural(blocks, 'block')}\n`);
  } finally {
    await checkpoint.close();
  }
}
