// `duobit eval`: perplexity, multiple choice, and reruns of recorded ones; the same code for quantized and unquantized models.
import { TASK_NAMES, type TaskName } from '@duobit/quantizer';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { measurePerplexity, measureZeroShot, readTasks } from '../evaluation.ts';
import { readTextFile } from '../files.ts';
import { addBackendOptions, addExamples, addJsonOption, type BackendOptions, integer } from '../options.ts';
import { type EvaluationRecord, withRecord } from '../record.ts';
import { withSession } from '../session.ts';
import { formatCount, formatPairs, formatTable, plural } from '../text.ts';
import { addRerunCommand } from './eval-rerun.ts';

interface Options extends BackendOptions {
  readonly limit?: number;
  readonly record?: string;
  readonly force: boolean;
  readonly json: boolean;
}

interface PerplexityOptions extends Options {
  readonly text: string;
  readonly context: number;
}

interface ZeroShotOptions extends Options {
  readonly data: readonly string[];
  readonly tasks?: readonly TaskName[];
}

export function addEvalCommand(program: Command, context: Context): void {
  const group = program.command('eval').description('Measure the quality of a model.');
  addExamples(group, 'duobit eval ppl tiny.duo --text fixtures/stories/heldout.txt --limit 4');
  addPerplexityCommand(group, context);
  addZeroShotCommand(group, context);
  addRerunCommand(group, context);
}

function addPerplexityCommand(group: Command, context: Context): void {
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
    .addOption(new Option('--limit <windows>', 'stop after this many windows').argParser(integer(1)))
    .action((path: string, options: PerplexityOptions) => runPerplexity(context, path, options));
  addRecordOptions(command);
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(
    command,
    'duobit eval ppl tiny.duo --text fixtures/stories/heldout.txt --limit 4',
    'duobit eval ppl model.duo --text wiki.test.raw --context 2048 --record ppl.json',
  );
}

function addZeroShotCommand(group: Command, context: Context): void {
  const command = group
    .command('zeroshot')
    .description('Multiple choice without examples: the share of questions whose right choice is likeliest.')
    .argument('<model>', '.duo file, Hugging Face folder or .gguf file')
    .requiredOption('--data <paths...>', 'folders or files with the questions')
    .addOption(
      new Option(
        '--tasks <names>',
        `some of ${TASK_NAMES.join(',')} (default: all that --data has)`,
      ).argParser(parseTasks),
    )
    .addOption(new Option('--limit <questions>', 'ask only this many questions a task').argParser(integer(1)))
    .action((path: string, options: ZeroShotOptions) => runZeroShot(context, path, options));
  addRecordOptions(command);
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(command, 'duobit eval zeroshot tiny.duo --data fixtures/zeroshot --tasks piqa,arc_easy');
}

function addRecordOptions(command: Command): void {
  command
    .option('--record <file>', 'write the record of the run there, as JSON')
    .option('--force', 'replace an older file of that name', false);
}

function parseTasks(text: string): TaskName[] {
  const names = text.split(',').map((name) => name.trim());
  const tasks = TASK_NAMES.filter((name) => names.includes(name));
  if (tasks.length === new Set(names).size) return tasks;
  throw new InvalidArgumentError(`Give some of ${TASK_NAMES.join(', ')}, separated by commas.`);
}

async function runPerplexity(context: Context, path: string, options: PerplexityOptions): Promise<void> {
  const file = await readTextFile(options.text, '--text');
  const record = await withRecord(options.record, options.force, () =>
    withSession(context, path, options, options.context, (session) =>
      measurePerplexity(context, session, file, options),
    ),
  );
  emit(context, options.json, record, () => formatRecord(record));
}

async function runZeroShot(context: Context, path: string, options: ZeroShotOptions): Promise<void> {
  const data = await readTasks(options.data, options.tasks);
  const record = await withRecord(options.record, options.force, () =>
    withSession(context, path, options, undefined, (session) =>
      measureZeroShot(context, session, data, options),
    ),
  );
  emit(context, options.json, record, () => formatRecord(record));
}

function formatRecord(record: EvaluationRecord): string {
  const { model, options } = record;
  const about = formatPairs([
    ['model', `${model.name}, SHA-256 of ${model.sha256_of} ${model.sha256}`],
    [
      'run by',
      `${options.backend}, ${plural(options.threads, 'thread')}, activations ${options.activations}, KV cache ${options.kv}`,
    ],
    ['time', `${record.seconds.toFixed(1)} s`],
  ]);
  if (record.kind === 'zeroshot') {
    const share = (value: number | null, error: number | null): string =>
      value === null ? '' : `${value.toFixed(4)}${error === null ? '' : ` ± ${error.toFixed(4)}`}`;
    const table = formatTable(
      ['task', 'questions', 'acc', 'acc_norm'],
      record.result.tasks.map((task) => [
        task.task,
        formatCount(task.questions),
        share(task.acc, task.acc_stderr),
        share(task.acc_norm, task.acc_norm_stderr),
      ]),
      ['questions'],
    );
    return `${table}\n${about}`;
  }
  const { perplexity, nll, tokens, windows } = record.result;
  const pairs = formatPairs([
    ['perplexity', perplexity.toFixed(4)],
    ['nats a token', nll.toFixed(5)],
    ['predicted tokens', `${formatCount(tokens)} in ${plural(windows, 'window')} of ${options.context}`],
  ]);
  return `${pairs}\n${about}`;
}
