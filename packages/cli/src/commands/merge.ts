// `duobit merge`: a header file and its data files into one container, byte for byte the one that was split.
import { type ContainerSummary, mergeContainer } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';
import type { Command } from 'commander';
import { requireFreePath } from '../containers.ts';
import { type Context, emit } from '../context.ts';
import { openModelFile } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { formatBytes, formatPairs } from '../text.ts';

interface Options {
  readonly output: string;
  readonly force: boolean;
  readonly json: boolean;
}

export function addMergeCommand(program: Command, context: Context): void {
  const command = program
    .command('merge')
    .description('Join a header file and the data files beside it into one container.')
    .argument('<file>', 'header file of a split model')
    .requiredOption('-o, --output <file>', 'where the container goes')
    .option('--force', 'replace a file that exists', false)
    .action((path: string, options: Options) => runMerge(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit merge parts/big.duo -o big.duo');
}

async function runMerge(context: Context, path: string, options: Options): Promise<void> {
  const started = performance.now();
  const source = await openModelFile(context, path);
  const progress = createProgress(context.io, { lines: { merge: 3 } });
  let summary: ContainerSummary;
  try {
    await requireFreePath(options.output, options.force);
    summary = await mergeContainer(source, await createFileSink(options.output), {
      onProgress: (done, total) => {
        checkAborted(context.signal);
        progress.update('merge', done, total);
      },
    });
  } finally {
    progress.stop();
    await source.close();
  }
  const result = {
    output: options.output,
    source: path,
    header_sha256: summary.headerSha256,
    file_bytes: summary.fileLength,
    seconds: (performance.now() - started) / 1000,
  };
  emit(context, options.json, result, () =>
    formatPairs([
      ['written', `${options.output}, ${formatBytes(summary.fileLength)}`],
      ['header SHA-256', summary.headerSha256],
    ]),
  );
}
