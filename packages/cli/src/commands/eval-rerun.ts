// `duobit eval rerun`: measures again what a record tells of, and compares.
import { DuobitError } from '@duobit/format';
import type { Command } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { measurePerplexity, measureZeroShot, readTasks } from '../evaluation.ts';
import { readTextFile, type TextFile } from '../files.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { type EvaluationRecord, type RecordedData, readRecord } from '../record.ts';
import { type Session, withSession } from '../session.ts';
import { formatTable } from '../text.ts';

/** The same bits on the same machine; other kernels round otherwise, and docs/evaluation.md says why this much. */
const PERPLEXITY_TOLERANCE = 1e-3;
const ACCURACY_TOLERANCE = 5e-3;

interface Options {
  readonly model: string;
  readonly data: readonly string[];
  readonly json: boolean;
}

interface Comparison {
  readonly what: string;
  readonly recorded: number;
  readonly measured: number;
  readonly tolerance: number;
  readonly same: boolean;
}

export function addRerunCommand(group: Command, context: Context): void {
  const command = group
    .command('rerun')
    .description(
      'Measure again what a record tells of, and compare the results; exit code 1 when they differ.',
    )
    .argument('<record>', 'file that --record wrote')
    .requiredOption('--model <path>', 'the model: .duo file, Hugging Face folder or .gguf file')
    .requiredOption('--data <paths...>', 'the text, or folders or files with the questions')
    .action((path: string, options: Options) => runRerun(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit eval rerun ppl.json --model tiny.duo --data fixtures/stories/heldout.txt');
}

async function runRerun(context: Context, path: string, { model, data, json }: Options): Promise<void> {
  const recorded = await readRecord(path);
  const measure = await prepare(context, recorded, data);
  const options = {
    ...recorded.options,
    limit: recorded.options.limit ?? undefined,
  };
  const measured = await withSession(context, model, options, options.context, async (session) => {
    const { sha256, of } = await session.hash();
    requireSame('model', model, `SHA-256 of its ${of}`, sha256, recorded.model.sha256);
    if (session.instructionSet !== options.instruction_set)
      note(context, `note: recorded with ${options.instruction_set}, run with ${session.instructionSet}`);
    return measure(session, options);
  });
  const comparisons = compare(recorded, measured);
  const same = comparisons.every((comparison) => comparison.same);
  if (!same) context.exitCode = 1;
  emit(context, json, { same, comparisons, record: measured }, () => {
    const rows = comparisons.map(({ what, recorded, measured, tolerance, same }) => [
      what,
      recorded.toPrecision(8),
      measured.toPrecision(8),
      tolerance.toPrecision(2),
      same ? 'same' : 'differs',
    ]);
    return formatTable(['result', 'recorded', 'measured', 'tolerance', ''], rows);
  });
}

type Measure = (
  session: Session,
  options: Parameters<typeof measurePerplexity>[3],
) => Promise<EvaluationRecord>;

/** Reads the data and checks that it is what was recorded. */
async function prepare(
  context: Context,
  { kind, data: recorded }: EvaluationRecord,
  paths: readonly string[],
): Promise<Measure> {
  if (kind === 'perplexity') {
    const file = await readTextFile(paths[0]!, '--data');
    requireSameFile(file, recorded[0]!);
    return (session, options) => measurePerplexity(context, session, file, options);
  }
  const tasks = recorded.flatMap(({ task }) => (task === null ? [] : [task]));
  const data = await readTasks(paths, tasks);
  for (const { task, file } of data) requireSameFile(file, recorded.find((entry) => entry.task === task)!);
  return (session, options) => measureZeroShot(context, session, data, options);
}

function requireSameFile(file: TextFile, recorded: RecordedData): void {
  requireSame('data', file.name, 'SHA-256', file.sha256, recorded.sha256);
}

function requireSame(what: string, source: string, hash: string, found: string, recorded: string): void {
  if (found === recorded) return;
  throw new DuobitError('RECORD_MISMATCH', `the ${hash} is ${found}, the record's ${what} has ${recorded}`, {
    source,
    where: what,
    remedy: `Give the ${what} that the record was made with`,
  });
}

function compare(recorded: EvaluationRecord, measured: EvaluationRecord): Comparison[] {
  const found = new Map(listFigures(measured).map(({ what, value }) => [what, value]));
  return listFigures(recorded).map(({ what, value, tolerance }) => {
    const after = found.get(what) ?? Number.NaN;
    return { what, recorded: value, measured: after, tolerance, same: Math.abs(after - value) <= tolerance };
  });
}

function listFigures(
  record: EvaluationRecord,
): { readonly what: string; readonly value: number; readonly tolerance: number }[] {
  if (record.kind === 'perplexity') {
    const { perplexity } = record.result;
    return [{ what: 'perplexity', value: perplexity, tolerance: PERPLEXITY_TOLERANCE * perplexity }];
  }
  return record.result.tasks.flatMap(({ task, questions, acc, acc_norm }) => {
    // One question more or less is no difference; a little is added because shares are rounded.
    const tolerance = Math.max(ACCURACY_TOLERANCE, 1.000001 / questions);
    const figure = { what: `${task} acc`, value: acc, tolerance };
    return acc_norm === null ? [figure] : [figure, { what: `${task} acc_norm`, value: acc_norm, tolerance }];
  });
}
