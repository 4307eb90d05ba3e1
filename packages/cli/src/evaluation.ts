// Runs an evaluation on a model and makes its record; `duobit eval` and its reruns share this.
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DuobitError } from '@duobit/format';
import {
  evaluatePerplexity,
  evaluateZeroShot,
  parseTask,
  type Question,
  TASK_NAMES,
  TASKS,
  type TaskName,
} from '@duobit/quantizer';
import type { Context } from './context.ts';
import { readTextFile, type TextFile } from './files.ts';
import { describeMachine, readPeakRss } from './machine.ts';
import type { BackendOptions } from './options.ts';
import { createProgress } from './progress.ts';
import { type EvaluationRecord, RECORD_SCHEMA, type RecordedData, type TaskResult } from './record.ts';
import type { Session } from './session.ts';
import { findCommit, VERSION } from './version.ts';

/** A file of questions, read. */
export interface TaskData {
  readonly task: TaskName;
  readonly file: TextFile;
  readonly questions: readonly Question[];
}

/**
 * Reads the files of tasks. Folders are searched for the names that `TASKS` gives; a file is known by that name.
 * @param tasks undefined: all that are found
 * @throws DuobitError `TASK_FILE_MISSING`, `TEXT_UNREADABLE`, `EVALUATION_DATA`
 */
export async function readTasks(
  paths: readonly string[],
  tasks: readonly TaskName[] | undefined,
): Promise<TaskData[]> {
  const found = new Map<TaskName, string>();
  for (const path of paths) {
    const isFolder = (await stat(path).catch(() => null))?.isDirectory() === true;
    for (const name of TASK_NAMES) {
      const candidate = isFolder ? join(path, TASKS[name].file) : path;
      const exists = isFolder
        ? (await stat(candidate).catch(() => null))?.isFile()
        : basename(path) === TASKS[name].file;
      if (exists && !found.has(name)) found.set(name, candidate);
    }
  }
  const wanted = tasks ?? TASK_NAMES.filter((name) => found.has(name));
  const missing = (tasks ?? TASK_NAMES).filter((name) => !found.has(name));
  if (wanted.length === 0 || (tasks !== undefined && missing.length > 0))
    throw new DuobitError(
      'TASK_FILE_MISSING',
      `no file for ${missing.map((name) => `${name} (${TASKS[name].file})`).join(', ')}`,
      {
        source: paths.join(', '),
        where: '--data',
        remedy: 'Give the folder that holds files of these names, or the files; unpack compressed ones',
      },
    );
  return Promise.all(
    wanted.map(async (task) => {
      const path = found.get(task)!;
      const file = await readTextFile(path, '--data');
      return { task, file, questions: parseTask(task, file.text, path) };
    }),
  );
}

export interface EvaluationOptions extends BackendOptions {
  readonly limit?: number | undefined;
}

/** Windows are as long as the context that the session was opened with. */
export async function measurePerplexity(
  context: Context,
  session: Session,
  file: TextFile,
  options: EvaluationOptions,
): Promise<EvaluationRecord & { readonly kind: 'perplexity' }> {
  const commit = findCommit();
  const progress = createProgress(context.io, { lines: { evaluate: 5 } });
  try {
    const { perplexity, nll, tokens, windows, seconds } = await evaluatePerplexity(session.model, file.text, {
      context: session.model.contextLength,
      limit: options.limit,
      signal: context.signal,
      onProgress: ({ done, total, perplexity }) =>
        progress.update('evaluate', done, total, `perplexity ${perplexity.toFixed(4)}`),
    });
    progress.stop();
    const head = await describeRun(session, commit, [describeData(null, file)], options, seconds);
    return { kind: 'perplexity', ...head, result: { perplexity, nll, tokens, windows } };
  } finally {
    progress.stop();
  }
}

export async function measureZeroShot(
  context: Context,
  session: Session,
  data: readonly TaskData[],
  options: EvaluationOptions,
): Promise<EvaluationRecord & { readonly kind: 'zeroshot' }> {
  const commit = findCommit();
  const lines = Object.fromEntries(data.map(({ task }) => [task, 2]));
  const progress = createProgress(context.io, { lines });
  const tasks: TaskResult[] = [];
  try {
    for (const { task, questions } of data) {
      const report = await evaluateZeroShot(session.model, questions, {
        limit: options.limit,
        signal: context.signal,
        onProgress: ({ done, total, accuracy }) =>
          progress.update(task, done, total, `acc ${accuracy.toFixed(4)}`),
      });
      tasks.push({
        task,
        questions: report.questions,
        acc: report.accuracy.value,
        acc_stderr: report.accuracy.standardError,
        acc_norm: report.accuracyNormalized?.value ?? null,
        acc_norm_stderr: report.accuracyNormalized?.standardError ?? null,
        truncated: report.truncated,
        seconds: report.seconds,
      });
    }
  } finally {
    progress.stop();
  }
  const seconds = tasks.reduce((sum, task) => sum + task.seconds, 0);
  const recorded = data.map(({ task, file }) => describeData(task, file));
  const head = await describeRun(session, commit, recorded, options, seconds);
  return { kind: 'zeroshot', ...head, result: { tasks } };
}

function describeData(task: TaskName | null, { name, bytes, sha256 }: TextFile): RecordedData {
  return { task, file: name, bytes, sha256 };
}

async function describeRun(
  { model, activations, bytes, hash, instructionSet }: Session,
  commit: string | null,
  data: readonly RecordedData[],
  options: EvaluationOptions,
  seconds: number,
) {
  const { sha256, of } = await hash();
  return {
    schema: RECORD_SCHEMA,
    duobit: VERSION,
    commit,
    date: new Date().toISOString(),
    model: { name: model.name, bytes, sha256, sha256_of: of },
    data,
    options: {
      context: model.contextLength,
      limit: options.limit ?? null,
      // Backends of this command line carry the names it knows them by.
      backend: model.backendName as BackendOptions['backend'],
      threads: model.threads,
      instruction_set: instructionSet,
      activations,
      kv: model.kv,
    },
    machine: describeMachine(),
    seconds,
    peak_rss_bytes: readPeakRss(),
  } as const;
}
