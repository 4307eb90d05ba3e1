// Whole validation as a condition of what a command does next.
import { type ByteSource, DuobitError, type ValidationReport, validateContainer } from '@duobit/format';
import type { Context } from './context.ts';
import { createProgress } from './progress.ts';
import { checkAborted } from './session.ts';

/** @throws DuobitError `ABORTED` */
export async function validateSource(
  context: Context,
  source: ByteSource,
  phase: string,
): Promise<ValidationReport> {
  const progress = createProgress(context.io, { lines: { [phase]: 0 } });
  try {
    const report = await validateContainer(source, {
      onProgress: (done, total) => {
        checkAborted(context.signal);
        progress.update(phase, done, total);
      },
    });
    // The validator turns what `onProgress` throws into a problem of the file; a stop is none.
    checkAborted(context.signal);
    return report;
  } finally {
    progress.stop();
  }
}

/** @throws DuobitError with the code of the first problem; `but` says what that is in the way of */
export function requireGood({ problems, dropped }: ValidationReport, path: string, but: string): void {
  const [first] = problems;
  if (!first) return;
  const more = problems.length - 1 + dropped;
  const rest = more > 0 ? `; ${more} more problems` : '';
  throw new DuobitError(first.code, `${but}: ${first.message}${rest}`, {
    source: path,
    where: first.where,
    remedy: first.remedy,
  });
}
