// `duobit quantize`: checkpoint in, container out.
import { type QuantizeReport, quantize } from '@duobit/quantizer';
import { type Command, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { readText } from '../files.ts';
import { addExamples, addJsonOption, integer } from '../options.ts';
import { createProgress } from '../progress.ts';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';

interface Options {
  readonly output: string;
  readonly calibration?: string;
  readonly calibrationWindows?: number;
  readonly embedding: 'q8' | 'q4' | 'f16';
  readonly group: '32' | '64' | '128' | '256';
  readonly symmetric: boolean;
  readonly tensors: boolean;
  readonly json: boolean;
}

const GROUP_SIZES = { '32': 32, '64': 64, '128': 128, '256': 256 } as const;

export function addQuantizeCommand(program: Command, context: Context): void {
  const command = program
    .command('quantize')
    .description('Quantize a checkpoint to W(1+1) and write it as one .duo file.')
    .argument('<checkpoint>', 'Hugging Face folder or .gguf file')
    .requiredOption('-o, --output <file>', 'where the container goes; replaced only when all went well')
    .option('--calibration <file>', 'plain text that weighs the fit by the inputs each layer sees')
    .addOption(
      new Option('--calibration-windows <count>', 'windows of the calibration text that are run').argParser(
        integer(1),
      ),
    )
    .addOption(
      new Option('--embedding <format>', 'embedding and output head')
        .choices(['q8', 'q4', 'f16'])
        .default('q8'),
    )
    .addOption(
      new Option('--group <columns>', 'columns that share their four levels')
        .choices(Object.keys(GROUP_SIZES))
        .default('128'),
    )
    .option('--symmetric', 'levels +-a, +-b without offsets: smaller and less exact', false)
    .option('--tensors', 'list every tensor with its size and error', false)
    .action((checkpoint: string, options: Options) => runQuantize(context, checkpoint, options));
  addJsonOption(command);
  addExamples(
    command,
    'duobit quantize fixtures/tinystories-656k -o tiny.duo',
    'duobit quantize model.gguf -o model.duo --calibration text.txt --embedding q4',
  );
}

async function runQuantize(context: Context, checkpoint: string, options: Options): Promise<void> {
  const calibration =
    options.calibration === undefined
      ? {}
      : {
          calibration: {
            text: await readText(options.calibration, '--calibration'),
            ...(options.calibrationWindows === undefined ? {} : { maxWindows: options.calibrationWindows }),
          },
        };
  const progress = createProgress(context.io, { lines: { calibrate: 3, quantize: 5 } });
  let report: QuantizeReport;
  try {
    report = await quantize(checkpoint, options.output, {
      embedding: options.embedding,
      groupSize: GROUP_SIZES[options.group],
      offsets: !options.symmetric,
      ...calibration,
      onProgress: ({ phase, done, total, tensor }) => progress.update(phase, done, total, tensor),
      signal: context.signal,
    });
  } finally {
    progress.stop();
  }
  emit(context, options.json, toJson(report), () => formatReport(report, options.tensors));
}

function toJson(report: QuantizeReport): object {
  return {
    output: report.outPath,
    source: report.sourceName,
    file_bytes: report.fileBytes,
    header_sha256: report.headerSha256,
    parameters: report.parameters,
    linear_weights: report.linearWeights,
    linear_bytes: report.linearBytes,
    bits_per_weight_linear: report.bitsPerWeightLinear,
    bits_per_weight_file: report.bitsPerWeightFile,
    relative_error_linear: report.relativeErrorLinear,
    calibration_tokens: report.calibrationTokens,
    seconds: report.seconds,
    tensors: report.tensors.map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      encoding: tensor.encoding,
      bytes: tensor.bytes,
      weights: tensor.weights,
      bits_per_weight: tensor.bitsPerWeight,
      relative_error: tensor.relativeError,
      relative_error_uniform: tensor.relativeErrorUniform,
    })),
  };
}

function formatReport(report: QuantizeReport, tensors: boolean): string {
  const summary = formatPairs([
    ['written', report.outPath],
    ['file size', formatBytes(report.fileBytes)],
    ['parameters', formatCount(report.parameters)],
    ['bits a weight, linear layers only', report.bitsPerWeightLinear.toFixed(4)],
    ['bits a weight, whole file', report.bitsPerWeightFile.toFixed(4)],
    ['relative squared error, linear layers', report.relativeErrorLinear.toFixed(5)],
    [
      'calibration',
      report.calibrationTokens === 0 ? 'none (uniform)' : `${formatCount(report.calibrationTokens)} tokens`,
    ],
    ['header SHA-256', report.headerSha256],
    ['time', `${report.seconds.toFixed(1)} s`],
  ]);
  if (!tensors) return summary;
  const table = formatTable(
    ['tensor', 'shape', 'encoding', 'bytes', 'bits a weight', 'relative error'],
    report.tensors.map((tensor) => [
      tensor.name,
      tensor.shape.join(' x '),
      tensor.encoding,
      formatCount(tensor.bytes),
      tensor.bitsPerWeight.toFixed(3),
      tensor.relativeError.toExponential(2),
    ]),
    ['bytes', 'bits a weight', 'relative error'],
  );
  return `${summary}\n${table}`;
}
