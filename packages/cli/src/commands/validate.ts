// `duobit validate`: structure, meaning and every hash of a container.
import { type ValidationReport, validateContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import type { Command } from 'commander';
import { type Context, emit } from '../context.ts';
import { EXIT } from '../failure.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { formatBytes, formatCount, plural } from '../text.ts';

interface Options {
  readonly shallow: boolean;
  readonly json: boolean;
}

export function addValidateCommand(program: Command, context: Context): void {
  const command = program
    .command('validate')
    .description(
      'Check a container: preamble, header structure, meaning, padding and the hash of every chunk.',
    )
    .argument('<file>', '.duo file')
    .option('--shallow', 'check the header only, do not read the weights', false)
    .action((path: string, options: Options) => runValidate(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit validate tiny.duo');
}

async function runValidate(context: Context, path: string, options: Options): Promise<void> {
  const source = await createFileSource(path);
  const progress = createProgress(context.io, { lines: { validate: 0 } });
  let report: ValidationReport;
  try {
    report = await validateContainer(source, {
      deep: !options.shallow,
      onProgress: (done, total) => {
        checkAborted(context.signal);
        progress.update('validate', done, total);
      },
    });
  } finally {
    progress.stop();
    await source.close();
  }
  // The validator turns what `onProgress` throws into a problem of the file; a stop is none.
  checkAborted(context.signal);
  if (!report.ok) context.exitCode = EXIT.badInput;
  const result = {
    ok: report.ok,
    file: path,
    file_bytes: source.size,
    header_sha256: report.manifest?.headerSha256 ?? null,
    deep: !options.shallow,
    problems: report.problems.map(({ code, where, message, remedy }) => ({ code, where, message, remedy })),
    problems_not_listed: report.dropped,
  };
  emit(context, options.json, result, () => {
    if (report.ok) {
      const depth = options.shallow ? 'header only' : 'header and all data';
      return `ok: ${path}, ${formatBytes(source.size)}, ${depth}\n`;
    }
    const lines = report.problems.map(
      ({ code, where, message, remedy }) => `  ${code}: ${message} (${where}). ${remedy}\n`,
    );
    if (report.dropped > 0) lines.push(`  and ${formatCount(report.dropped)} more\n`);
    return `not ok: ${path}, ${plural(report.problems.length + report.dropped, 'problem')}\n${lines.join('')}`;
  });
}
