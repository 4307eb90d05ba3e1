// `duobit quantize`: checkpoint in, container out.

import { DuobitError } from '@duobit/format';
import {
  type CalibrationOptions,
  type DistillationOptions,
  type FitOptions,
  PRESETS,
  type Preset,
  presetStages,
  type QuantizeReport,
  quantize,
  type RotationKind,
} from '@duobit/quantizer';
import { BACKEND_NAMES, type BackendName, createBackend, createTrainingKernels } from '@duobit/runtime-node';
import { DEVICES, type Device, openEngine } from '@duobit/tfjs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { readCorpus } from '../corpus.ts';
import { addExamples, addJsonOption, decimal, integer } from '../options.ts';
import { createProgress } from '../progress.ts';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';

interface Options {
  readonly output: string;
  readonly calibration?: string;
  readonly calibrationField?: string;
  readonly calibrationWindows: number;
  readonly calibrationContext?: number;
  readonly calibrationSeed?: number;
  readonly importance: FitOptions['importance'];
  readonly fit: FitOptions['fit'];
  readonly pairing: FitOptions['pairing'];
  readonly propagate: boolean;
  readonly turns: number;
  readonly damping: number;
  readonly correction: number;
  readonly clips: FitOptions['clips'];
  readonly activations: FitOptions['activations'];
  readonly outliers: number;
  readonly stages: readonly number[];
  readonly preset: Preset;
  readonly tokens: number;
  readonly seed: number;
  readonly device: Device | 'auto';
  readonly backend: BackendName;
  readonly threads?: number;
  readonly work?: string;
  readonly embedding: 'q8' | 'q4' | 'f16';
  readonly group: '32' | '64' | '128' | '256';
  readonly symmetric: boolean;
  readonly rotation: RotationKind;
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
    .option(
      '--calibration <file>',
      'text (.txt, .json, .jsonl, .parquet) whose inputs the layers are fitted to',
    )
    .option('--calibration-field <name>', 'field of a dataset with the text')
    .addOption(
      new Option('--calibration-windows <count>', 'most windows of the text that are run')
        .argParser(integer(1))
        .default(128),
    )
    .addOption(
      new Option(
        '--calibration-context <tokens>',
        "tokens in a window (default: 512, or the model's)",
      ).argParser(integer(1)),
    )
    .addOption(
      new Option('--calibration-seed <number>', 'draw windows at random (default: spread evenly)').argParser(
        integer(0),
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
    .addOption(
      new Option(
        '--rotation <kind>',
        'so that 4-bit inputs have no outliers: each input as the model runs, or folded into the weights',
      )
        .choices(['inputs', 'none', 'full', 'blocks'])
        .default('inputs'),
    )
    .addOption(
      new Option('--importance <kind>', 'weight of a column when levels are fitted: 1/[H^-1]_jj, H_jj or 1')
        .choices(['inverse', 'diagonal', 'uniform'])
        .default('inverse'),
    )
    .addOption(new Option('--fit <kind>', 'how levels are fitted').choices(['exact', 'em']).default('exact'))
    .addOption(
      new Option('--pairing <kind>', 'levels that share a bitmap value')
        .choices(['nested', 'halves'])
        .default('nested'),
    )
    .option('--no-propagate', 'leave errors where they are instead of spreading them over later columns')
    .addOption(
      new Option('--turns <count>', 'turns of refitting levels and re-choosing bits')
        .argParser(integer(0, 100))
        .default(4),
    )
    .addOption(
      new Option('--damping <part>', 'added to the diagonal of H, of its mean')
        .argParser(decimal(0, 1))
        .default(0.01),
    )
    .addOption(
      new Option('--correction <part>', 'how far layers make up for the errors of those before them')
        .argParser(decimal(0, 1))
        .default(1),
    )
    .addOption(
      new Option('--clips <kind>', 'ranges of the 4-bit codes of inputs')
        .choices(['search', 'none'])
        .default('search'),
    )
    .addOption(
      new Option('--activations <kind>', 'what layers are fitted to: inputs, or their 4-bit codes')
        .choices(['f16', 'a4'])
        .default('f16'),
    )
    .addOption(
      new Option('--outliers <count>', 'columns of each input that stay unquantized, with 8-bit weights')
        .argParser(integer(0, 256))
        .default(0),
    )
    .addOption(
      new Option(
        '--stages <list>',
        '1 fits; 2 trains weights, 3 levels and ranges of 4-bit inputs, block by block; 4 all at once',
      )
        .argParser(stageList)
        .default([1], '1'),
    )
    .addOption(
      new Option('--preset <name>', 'how long stages 2 to 4 train').choices(PRESETS).default('balanced'),
    )
    .addOption(
      new Option('--tokens <count>', 'most tokens of the calibration text that stages 2 to 4 train on')
        .argParser(integer(1))
        .default(131_072),
    )
    .addOption(new Option('--seed <number>', 'order of training').argParser(integer(0)).default(0))
    .addOption(
      new Option('--device <name>', 'trains: tensorflow (CUDA or processor), a GPU, kernels of ours, …')
        .choices(['auto', ...DEVICES])
        .default('auto'),
    )
    .addOption(new Option('--backend <name>', 'runs the calibration').choices(BACKEND_NAMES).default('auto'))
    .addOption(new Option('--threads <count>', 'threads of the backend').argParser(integer(1)))
    .option('--work <folder>', 'keeps blocks until all are done (default: the output and .work)')
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
  const calibration = await readCalibration(options);
  const backend = calibration
    ? await createBackend(options.backend, {
        threads: options.threads,
        onNotice: (line) => note(context, line),
      })
    : undefined;
  const distillation = await openDistillation(context, options, calibration !== undefined);
  const progress = createProgress(context.io, { lines: { calibrate: 3, distil: 20, quantize: 5 } });
  let report: QuantizeReport;
  try {
    report = await quantize(checkpoint, options.output, {
      embedding: options.embedding,
      groupSize: GROUP_SIZES[options.group],
      offsets: !options.symmetric,
      rotation: options.rotation,
      ...(calibration && { calibration }),
      ...(backend && { backend }),
      ...(distillation && { distillation }),
      ...(options.work === undefined ? {} : { workFolder: options.work }),
      fit: {
        importance: options.importance,
        fit: options.fit,
        pairing: options.pairing,
        propagate: options.propagate,
        turns: options.turns,
        damping: options.damping,
        correction: options.correction,
        clips: options.clips,
        activations: options.activations,
        outliers: options.outliers,
      },
      onProgress: ({ phase, done, total, tensor }) => progress.update(phase, done, total, tensor),
      signal: context.signal,
    });
  } finally {
    progress.stop();
    await backend?.dispose();
  }
  emit(context, options.json, toJson(report), () => formatReport(report, options.tensors));
}

/** `1,2,3` as [1, 2, 3]. */
function stageList(text: string): readonly number[] {
  const stages = text.split(',').map((part) => integer(1, 4)(part));
  if (stages[0] !== 1 || stages.some((stage, i) => i > 0 && stage <= stages[i - 1]!))
    throw new InvalidArgumentError('Give stages in order, beginning with 1: 1, 1,2, 1,2,3 or 1,2,3,4.');
  return stages;
}

async function openDistillation(
  context: Context,
  { stages, preset, tokens, seed, device, threads, outliers }: Options,
  calibrated: boolean,
): Promise<DistillationOptions | undefined> {
  if (stages.length === 1) return undefined;
  const refuse = (message: string, remedy: string): DuobitError =>
    new DuobitError('QUANTIZE_OPTION', message, { where: '--stages', remedy });
  if (!calibrated) throw refuse('stages 2 to 4 train on a text', 'Give one with --calibration');
  if (outliers > 0) throw refuse('layers with outlier columns cannot be trained yet', 'Leave out --outliers');
  const engine = await openEngine({
    device,
    kernels: () => createTrainingKernels(threads === undefined ? {} : { threads }),
    onNotice: (line) => note(context, line),
  });
  return { engine, tokens, seed, ...presetStages(preset, stages) };
}

async function readCalibration(options: Options): Promise<CalibrationOptions | undefined> {
  if (options.calibration === undefined) return undefined;
  return {
    text: await readCorpus(options.calibration, '--calibration', options.calibrationField),
    maxWindows: options.calibrationWindows,
    ...(options.calibrationContext === undefined ? {} : { context: options.calibrationContext }),
    ...(options.calibrationSeed === undefined ? {} : { seed: options.calibrationSeed }),
  };
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
