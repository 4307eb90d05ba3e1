// The record of an evaluation: what was measured, of which bytes, how and where, so that it can be measured again.
// docs/evaluation.md describes the fields.
import type { KvPrecision } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';
import { TASK_NAMES, type TaskName } from '@duobit/quantizer';
import { BACKEND_NAMES, type BackendName } from '@duobit/runtime-node';
import { requireFreePath } from './containers.ts';
import { readText } from './files.ts';
import type { Machine } from './machine.ts';

export const RECORD_SCHEMA = 1;

export interface PerplexityResult {
  readonly perplexity: number;
  /** Nats a predicted token. */
  readonly nll: number;
  readonly tokens: number;
  readonly windows: number;
}

export interface TaskResult {
  readonly task: TaskName;
  readonly questions: number;
  readonly acc: number;
  readonly acc_stderr: number | null;
  readonly acc_norm: number | null;
  readonly acc_norm_stderr: number | null;
  readonly truncated: number;
  readonly seconds: number;
}

export interface ZeroShotResult {
  readonly tasks: readonly TaskResult[];
}

interface RecordHead {
  readonly schema: typeof RECORD_SCHEMA;
  readonly duobit: string;
  readonly commit: string | null;
  /** ISO 8601, of the end of the run. */
  readonly date: string;
  readonly model: {
    readonly name: string;
    readonly bytes: number;
    readonly sha256: string;
    readonly sha256_of: 'header' | 'weights';
  };
  readonly data: readonly RecordedData[];
  readonly options: RecordedOptions;
  readonly machine: Machine;
  readonly seconds: number;
  readonly peak_rss_bytes: number;
}

export interface RecordedData {
  /** null for the text of a perplexity. */
  readonly task: TaskName | null;
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface RecordedOptions {
  readonly context: number;
  readonly limit: number | null;
  readonly backend: BackendName;
  readonly threads: number;
  readonly instruction_set: string | null;
  readonly activations: 'a4' | 'f16';
  readonly kv: KvPrecision;
}

export type EvaluationRecord =
  | (RecordHead & { readonly kind: 'perplexity'; readonly result: PerplexityResult })
  | (RecordHead & { readonly kind: 'zeroshot'; readonly result: ZeroShotResult });

/**
 * Runs an evaluation and writes its record, if a path is given: under its name only once it is complete. The path is tried
 * before the evaluation begins.
 * @throws DuobitError `OUTPUT_EXISTS`, and as `createFileSink`
 */
export async function withRecord(
  path: string | undefined,
  force: boolean,
  evaluate: () => Promise<EvaluationRecord>,
): Promise<EvaluationRecord> {
  if (path === undefined) return evaluate();
  await requireFreePath(path, force);
  const sink = await createFileSink(path);
  try {
    const record = await evaluate();
    await sink.write(0, new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`));
    // Another run may have written there in the meantime.
    await requireFreePath(path, force);
    await sink.finish();
    return record;
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** @throws DuobitError `TEXT_UNREADABLE`, `RECORD_INVALID` */
export async function readRecord(path: string): Promise<EvaluationRecord> {
  const text = await readText(path, 'record');
  let record: EvaluationRecord;
  try {
    record = JSON.parse(text);
  } catch (cause) {
    throw invalid(path, 'it is not JSON', cause);
  }
  const fault = findFault(record);
  if (fault !== null) throw invalid(path, fault);
  return record;
}

/** What a rerun depends on; fields that it only carries along are not looked at. */
function findFault(record: EvaluationRecord): string | null {
  if (typeof record !== 'object' || record === null) return 'it is not an object';
  const { schema, kind, model, data, options, result } = record;
  if (schema !== RECORD_SCHEMA)
    return `its schema is ${JSON.stringify(schema)}, this version reads ${RECORD_SCHEMA}`;
  if (kind !== 'perplexity' && kind !== 'zeroshot') return `its kind is ${JSON.stringify(kind)}`;
  if (typeof model?.sha256 !== 'string') return 'model.sha256 is missing';
  if (!Array.isArray(data) || data.length === 0) return 'data is missing';
  for (const [index, entry] of data.entries()) {
    if (typeof entry?.sha256 !== 'string' || typeof entry.file !== 'string')
      return `data[${index}] is incomplete`;
    const fits = kind === 'perplexity' ? entry.task === null : TASK_NAMES.includes(entry.task);
    if (!fits) return `data[${index}].task is ${JSON.stringify(entry.task)}`;
  }
  const isCount = (value: unknown) => Number.isSafeInteger(value) && Number(value) > 0;
  if (!isCount(options?.context)) return 'options.context is no count';
  if (options.limit !== null && !isCount(options.limit)) return 'options.limit is neither null nor a count';
  if (!isCount(options.threads)) return 'options.threads is no count';
  if (!BACKEND_NAMES.includes(options.backend))
    return `options.backend is ${JSON.stringify(options.backend)}`;
  if (options.activations !== 'a4' && options.activations !== 'f16')
    return `options.activations is ${JSON.stringify(options.activations)}`;
  const numbers =
    kind === 'perplexity'
      ? [record.result?.perplexity]
      : data.map(({ task }) => record.result?.tasks?.find((entry) => entry.task === task)?.acc);
  return typeof result === 'object' && numbers.every(Number.isFinite) ? null : 'result is incomplete';
}

function invalid(path: string, fact: string, cause?: unknown): DuobitError {
  return new DuobitError('RECORD_INVALID', `not a record of an evaluation: ${fact}`, {
    source: path,
    remedy: 'Give a file that `duobit eval … --record` wrote',
    cause,
  });
}
