// `duobit quantize`: checkpoint in, container out.

import { DuobitError } from '@duobit/format';
import {
  BLOCK_INPUTS,
  type BlockInputs,
  DEFAULT_EVALUATION_WINDOWS,
  type FitOptions,
  PRESETS,
  type Preset,
  presetStages,
  type QuantizeOptions,
  type QuantizeReport,
  type QueueOptions,
  quantize,
  type RecipeDistillation,
  type RotationKind,
} from '@duobit/quantizer';
import { BACKEND_NAMES, type BackendName, createBackend, createTrainingKernels } from '@duobit/runtime-node';
import { DEVICES, type Device, type Engine, openEngine } from '@duobit/tfjs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { readCorpus } from '../corpus.ts';
import { addExamples, addJsonOption, decimal, integer } from '../options.ts';
import { createProgress } from '../progress.ts';
import { describeDivergence, describeStage, formatReport, toJson } from './quantize-output.ts';
import {
  openRecipe,
  placeSideFiles,
  recordFile,
  refuseContradictions,
  writeSideFiles,
} from './quantize-recipe.ts';

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
  readonly inputs: BlockInputs;
  readonly queue?: string;
  readonly tokens: number;
  readonly batch: number;
  readonly teacherTokens?: number;
  readonly seed: number;
  readonly device: Device | 'auto';
  readonly backend: BackendName;
  readonly threads?: number;
  readonly work?: string;
  readonly evaluate?: number;
  readonly report?: string | boolean;
  readonly recipe?: string | boolean;
  readonly fromRecipe?: string;
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
      new Option(
        '--inputs <whose>',
        "what stages 2 and 3 feed a block: the student's stream with the errors of the blocks before it, or the teacher's without",
      )
        .choices(BLOCK_INPUTS)
        .default('student'),
    )
    .addOption(
      new Option('--tokens <count>', 'most tokens of the calibration text that stages 2 to 4 train on')
        .argParser(integer(1))
        .default(131_072),
    )
    .addOption(
      new Option('--batch <windows>', 'windows in a step of stages 2 to 4').argParser(integer(1)).default(2),
    )
    .addOption(
      new Option(
        '--teacher-tokens <count>',
        "stage 4 keeps this many of the teacher's most likely tokens of each position, instead of running it in every step (default: runs it)",
      ).argParser(integer(1)),
    )
    .addOption(new Option('--seed <number>', 'order of training').argParser(integer(0)).default(0))
    .addOption(
      new Option('--device <name>', 'trains: tensorflow (CUDA or processor), a GPU, kernels of ours, …')
        .choices(['auto', ...DEVICES])
        .default('auto'),
    )
    .option(
      '--queue <url>',
      'have workers (duobit worker) train the blocks of stages 2 and 3: redis://host:port[/name]',
    )
    .addOption(new Option('--backend <name>', 'runs the calibration').choices(BACKEND_NAMES).default('auto'))
    .addOption(new Option('--threads <count>', 'threads of the backend').argParser(integer(1)))
    .option('--work <folder>', 'keeps blocks until all are done (default: the output and .work)')
    .addOption(
      new Option(
        '--evaluate <windows>',
        'windows to measure perplexity on after each stage (default: 8 with stages 2 to 4, else 0)',
      ).argParser(integer(0)),
    )
    .option('--report [file]', 'page about the run (default with stages 2 to 4: the output and .report.html)')
    .option('--no-report', 'write no such page')
    .option(
      '--recipe [file]',
      'all options as JSON (default with stages 2 to 4: the output and .recipe.json)',
    )
    .option('--no-recipe', 'write no such file')
    .option('--from-recipe <file>', 'repeat the run that the recipe is of')
    .option('--tensors', 'list every tensor with its size and error', false)
    .action((checkpoint: string, options: Options) => runQuantize(context, command, checkpoint, options));
  addJsonOption(command);
  addExamples(
    command,
    'duobit quantize fixtures/tinystories-656k -o tiny.duo',
    'duobit quantize model.gguf -o model.duo --calibration text.txt --embedding q4',
    'duobit quantize model -o model.duo --from-recipe model.duo.recipe.json',
  );
}

async function runQuantize(
  context: Context,
  command: Command,
  checkpoint: string,
  options: Options,
): Promise<void> {
  const recipe = options.fromRecipe === undefined ? null : await openRecipe(options.fromRecipe);
  if (recipe) refuseContradictions(command);
  const staged = recipe ? recipe.staged : options.stages.length > 1;
  const files = await placeSideFiles(options, checkpoint, staged);
  const file = await recordFile(options, recipe);
  const text = file && (await readCorpus(file.path, '--calibration', file.field ?? undefined));
  const given = (name: string): boolean => command.getOptionValueSource(name) === 'cli';
  const backend = text
    ? await createBackend(recipe && !given('backend') ? recipe.backend(context) : options.backend, {
        threads: options.threads,
        onNotice: (line) => note(context, line),
      })
    : undefined;
  const progress = createProgress(context.io, {
    lines: { calibrate: 3, distil: 20, evaluate: 0, quantize: 5 },
  });
  const say = (line: string | null): void => {
    if (line === null) return;
    progress.stop();
    note(context, line);
  };
  const queue = options.queue === undefined ? undefined : { url: options.queue, onNotice: say };
  let report: QuantizeReport;
  try {
    checkStages(options, recipe?.recipe.distillation ?? null, text !== null);
    const engine = staged
      ? await openTraining(context, recipe && !given('device') ? recipe.device : options.device, options)
      : undefined;
    recipe?.compare(backend, engine, say);
    report = await quantize(checkpoint, options.output, {
      ...(recipe
        ? recipe.options({
            ...(text && { text }),
            ...(backend && { backend }),
            ...(engine && { engine }),
            ...(queue && { queue }),
          })
        : { ...chosenOptions(options, text, engine, queue), ...(backend && { backend }) }),
      ...(options.work === undefined ? {} : { workFolder: options.work }),
      evaluationWindows: options.evaluate ?? (staged ? DEFAULT_EVALUATION_WINDOWS : 0),
      onProgress: ({ phase, done, total, tensor }) => progress.update(phase, done, total, tensor),
      onBlock: (stage, outcome) => say(describeDivergence(stage, outcome)),
      onStage: (stage) => say(describeStage(stage)),
      onNotice: (line) => say(`note: ${line}`),
      signal: context.signal,
    });
  } finally {
    progress.stop();
    await backend?.dispose();
  }
  const full = await writeSideFiles(report, file, files);
  emit(context, options.json, toJson(full, files), () => formatReport(full, files, options.tensors));
}

function chosenOptions(
  options: Options,
  text: readonly string[] | null,
  engine: Engine | undefined,
  queue: QueueOptions | undefined,
): QuantizeOptions {
  return {
    embedding: options.embedding,
    groupSize: GROUP_SIZES[options.group],
    offsets: !options.symmetric,
    rotation: options.rotation,
    ...(text && {
      calibration: {
        text,
        maxWindows: options.calibrationWindows,
        ...(options.calibrationContext === undefined ? {} : { context: options.calibrationContext }),
        ...(options.calibrationSeed === undefined ? {} : { seed: options.calibrationSeed }),
      },
    }),
    ...(engine && {
      distillation: {
        engine,
        tokens: options.tokens,
        seed: options.seed,
        ...presetStages(options.preset, options.stages, {
          inputs: options.inputs,
          batch: options.batch,
          teacherTokens: options.teacherTokens ?? null,
        }),
        ...(queue && { queue }),
      },
    }),
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
  };
}

/** `1,2,3` as [1, 2, 3]. */
function stageList(text: string): readonly number[] {
  const stages = text.split(',').map((part) => integer(1, 4)(part));
  if (stages[0] !== 1 || stages.some((stage, i) => i > 0 && stage <= stages[i - 1]!))
    throw new InvalidArgumentError('Give stages in order, beginning with 1: 1, 1,2, 1,2,3 or 1,2,3,4.');
  return stages;
}

function checkStages(
  { stages, inputs, queue, outliers }: Options,
  repeated: RecipeDistillation | null,
  calibrated: boolean,
): void {
  const refuse = (message: string, remedy: string): DuobitError =>
    new DuobitError('QUANTIZE_OPTION', message, { where: '--stages', remedy });
  const blockwise = repeated
    ? (repeated.weights ?? repeated.activations)
    : stages.includes(2) || stages.includes(3);
  if (queue !== undefined && !blockwise)
    throw new DuobitError(
      'QUANTIZE_OPTION',
      'workers train the blocks of stages 2 and 3, and this run has neither',
      {
        where: '--queue',
        remedy: 'Add --stages 1,2,3 --inputs teacher, or leave out --queue',
      },
    );
  if (queue !== undefined && !repeated && inputs === 'student')
    throw new DuobitError(
      'QUANTIZE_OPTION',
      "a block that is fed with the student's stream has to wait for those before it",
      { where: '--queue', remedy: 'Add --inputs teacher, or leave out --queue' },
    );
  if (stages.length === 1) return;
  if (!calibrated) throw refuse('stages 2 to 4 train on a text', 'Give one with --calibration');
  if (outliers > 0) throw refuse('layers with outlier columns cannot be trained yet', 'Leave out --outliers');
}

/** What trains, here and in workers. */
export function openTraining(
  context: Context,
  device: Device | 'auto',
  { threads }: { readonly threads?: number },
): Promise<Engine> {
  return openEngine({
    device,
    kernels: () => createTrainingKernels(threads === undefined ? {} : { threads }),
    onNotice: (line) => note(context, line),
  });
}
