// `duobit convert`: a container or checkpoint in, a full-precision Hugging Face folder or safetensors file out.
import { type ExportReport, exportFolder, exportSafetensors } from '@duobit/quantizer';
import { type Command, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { addExamples, addJsonOption, parseSize } from '../options.ts';
import { createProgress } from '../progress.ts';
import { openSource } from '../session.ts';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';

interface Options {
  readonly output: string;
  readonly dtype: 'f32' | 'f16' | 'bf16';
  readonly shardSize?: number;
  readonly force: boolean;
  readonly json: boolean;
}

/** Outputs that would be folders of a misleading name: nobody who writes `-o model.gguf` wants one. */
const OTHER_FORMATS = /\.(duo|gguf|bin|pt|pth|ckpt|onnx|json|h5|msgpack)$/i;

export function addConvertCommand(program: Command, context: Context): void {
  const command = program
    .command('convert')
    .description(
      'Write a model in full precision: a Hugging Face folder, or its tensors as one safetensors file.',
    )
    .argument('<model>', '.duo file, Hugging Face folder or .gguf file')
    .requiredOption('-o, --output <path>', 'a new folder, or a file that ends in .safetensors')
    .addOption(
      new Option('--dtype <type>', 'f32 holds every decoded value exactly; f16 and bf16 round it')
        .choices(['f32', 'f16', 'bf16'])
        .default('f32'),
    )
    .addOption(
      new Option('--shard-size <size>', 'most bytes in one weights file of a folder, default 5GB').argParser(
        parseSize,
      ),
    )
    .option('--force', 'replace the model in a folder that is not empty, or a file that exists', false)
    .action((path: string, options: Options) => runConvert(context, command, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit convert tiny.duo -o tiny-hf', 'duobit convert tiny.duo -o tiny.safetensors');
}

async function runConvert(context: Context, command: Command, path: string, options: Options): Promise<void> {
  const { output, dtype, force, shardSize } = options;
  const single = /\.safetensors$/i.test(output);
  if (single && shardSize !== undefined)
    command.error("error: option '--shard-size <size>' needs a folder as output", { exitCode: 2 });
  if (OTHER_FORMATS.test(output)) {
    command.error(`error: convert writes a folder or a .safetensors file; -o ${output} is neither`, {
      exitCode: 2,
    });
  }
  const { source } = await openSource(context, path);
  const progress = createProgress(context.io, { lines: { convert: 3 } });
  let report: ExportReport;
  try {
    const shared = {
      dtype,
      force,
      signal: context.signal,
      onProgress: ({ tensor, done, total }: { tensor: string; done: number; total: number }) =>
        progress.update('convert', done, total, tensor),
    };
    report = single
      ? await exportSafetensors(source, output, shared)
      : await exportFolder(source, output, { ...shared, ...(shardSize === undefined ? {} : { shardSize }) });
  } finally {
    progress.stop();
    await source.close();
  }
  emit(context, options.json, toJson(path, report), () => formatReport(report));
}

function toJson(path: string, report: ExportReport): object {
  return {
    output: report.output,
    source: path,
    dtype: report.dtype,
    files: report.files.map(({ name, bytes }) => ({ name, bytes })),
    tensors: report.tensors,
    parameters: report.parameters,
    bytes: report.bytes,
    seconds: report.seconds,
  };
}

function formatReport(report: ExportReport): string {
  const summary = formatPairs([
    ['written', report.output],
    ['size', formatBytes(report.bytes)],
    [
      'tensors',
      `${formatCount(report.tensors)}, ${formatCount(report.parameters)} values in ${report.dtype}`,
    ],
    ['time', `${report.seconds.toFixed(1)} s`],
  ]);
  const table = formatTable(
    ['file', 'bytes'],
    report.files.map(({ name, bytes }) => [name, formatCount(bytes)]),
    ['bytes'],
  );
  return `${summary}\n${table}`;
}
