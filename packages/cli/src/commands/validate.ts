// `duobit validate`: structure, meaning, every hash and value of a container, and whether its form is canonical.
import {
  type ByteSource,
  DuobitError,
  type Problem,
  type ValidationReport,
  validateContainer,
} from '@duobit/format';
import { type Command, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { EXIT } from '../failure.ts';
import { openModelFile } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { formatBytes, formatCount, plural } from '../text.ts';

interface Options {
  readonly headerOnly: boolean;
  readonly canonical: boolean;
  readonly json: boolean;
}

export function addValidateCommand(program: Command, context: Context): void {
  const command = program
    .command('validate')
    .description(
      'Check a container: preamble, header structure, meaning, padding, every value and the hash of every chunk.',
    )
    .argument('<file>', '.duo file; its data files are found beside it')
    .addOption(new Option('--header-only', 'do not read the weights').default(false).conflicts('deep'))
    .option('--deep', 'check all hashes and values too; this is the default')
    .option('--canonical', 'also encode the header again and compare it byte for byte', false)
    .action((path: string, options: Options) => runValidate(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit validate tiny.duo', 'duobit validate tiny.duo --canonical --json');
}

async function runValidate(context: Context, path: string, options: Options): Promise<void> {
  const source = await openSource(context, path, !options.headerOnly);
  let report: ValidationReport;
  if ('code' in source) {
    report = { ok: false, problems: [source], dropped: 0, manifest: null, notes: [] };
  } else {
    const progress = createProgress(context.io, { lines: { validate: 0 } });
    try {
      report = await validateContainer(source, {
        deep: !options.headerOnly,
        canonical: options.canonical,
        onProgress: (done, total) => {
          checkAborted(context.signal);
          progress.update('validate', done, total);
        },
      });
    } finally {
      progress.stop();
      await source.close();
    }
  }
  // The validator turns what `onProgress` throws into a problem of the file; a stop is none.
  checkAborted(context.signal);
  if (!report.ok) context.exitCode = EXIT.badInput;
  const file_bytes = 'code' in source ? null : source.size;
  const result = {
    ok: report.ok,
    file: path,
    file_bytes,
    header_sha256: report.manifest?.headerSha256 ?? null,
    // What could not be understood was not covered either.
    checked: {
      header: !('code' in source),
      data: !options.headerOnly && report.manifest !== null,
      canonical: options.canonical && report.manifest !== null,
    },
    problems: report.problems.map(({ code, where, message, remedy }) => ({ code, where, message, remedy })),
    problems_not_listed: report.dropped,
    notes: report.notes,
  };
  emit(context, options.json, result, () => {
    const notes = report.notes.map((sentence) => `note: ${sentence}\n`).join('');
    if (!report.ok) return `${formatProblems(path, report)}${notes}`;
    const depth = options.headerOnly ? 'header only' : 'header and all data';
    const form = options.canonical ? ', canonical form' : '';
    return `ok: ${path}, ${formatBytes(file_bytes ?? 0)}, ${depth}${form}\n${notes}`;
  });
}

/** A path that cannot be opened (missing, a folder, empty) is a problem like any other. */
async function openSource(context: Context, path: string, store: boolean): Promise<ByteSource | Problem> {
  try {
    return await openModelFile(context, path, { store });
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    const { code, message, where, remedy } = error;
    return { code, message, where: where ?? path, remedy: remedy ?? 'Give another file' };
  }
}

/** Problems in groups of one code and remedy, in the order in which each group was first met. */
function formatProblems(path: string, report: ValidationReport): string {
  const groups = new Map<string, Problem[]>();
  for (const problem of report.problems) {
    const key = `${problem.code} ${problem.remedy}`;
    groups.set(key, [...(groups.get(key) ?? []), problem]);
  }
  const lines = [`not ok: ${path}, ${plural(report.problems.length + report.dropped, 'problem')}`];
  for (const problems of groups.values()) {
    const { code, remedy } = problems[0]!;
    lines.push(`  ${code}${problems.length > 1 ? `, ${formatCount(problems.length)} times` : ''}`);
    for (const { where, message } of problems) lines.push(`    ${where}: ${message}`);
    lines.push(`    Remedy: ${remedy}`);
  }
  if (report.dropped > 0) lines.push(`  and ${formatCount(report.dropped)} more that are not listed`);
  return `${lines.join('\n')}\n`;
}
