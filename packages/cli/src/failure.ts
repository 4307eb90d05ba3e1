// From anything thrown to what the user sees: one line on stderr, one object with `--json`, one exit code.
import { DuobitError } from '@duobit/format';
import { CommanderError } from 'commander';

export const EXIT = { ok: 0, badInput: 1, usage: 2, interrupted: 130 } as const;

export interface Failure {
  readonly exitCode: number;
  /** The line for stderr, without `error `. */
  readonly line: string;
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly where: string | null;
    readonly remedy: string | null;
  };
}

/** Turns a thrown value into a failure; null when commander has only printed help or the version. */
export function describeFailure(thrown: unknown, interrupted: boolean): Failure | null {
  if (thrown instanceof CommanderError) return describeUsage(thrown);
  const error = toDuobitError(thrown);
  if (interrupted) {
    const aborted = new DuobitError('ABORTED', 'stopped by the user', {
      remedy: 'Nothing was left half written; run the command again',
    });
    return fail(aborted, EXIT.interrupted);
  }
  return fail(error, EXIT.badInput);
}

function fail(error: DuobitError, exitCode: number): Failure {
  const where = [error.source, error.where].filter(Boolean).join(', ');
  return {
    exitCode,
    line: error.describe(),
    error: {
      code: error.code,
      message: error.message,
      where: where === '' ? null : where,
      remedy: error.remedy ?? null,
    },
  };
}

function describeUsage(thrown: CommanderError): Failure | null {
  if (thrown.exitCode === 0) return null;
  const message =
    thrown.code === 'commander.help'
      ? 'a command is missing'
      : thrown.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  const error = new DuobitError('USAGE', message.replace(/\.$/, ''), {
    remedy: 'Add --help to the command to see its arguments and options',
  });
  return fail(error, EXIT.usage);
}

/** Failures of the platform get a code as well; what is left is a defect of ours. */
function toDuobitError(thrown: unknown): DuobitError {
  if (thrown instanceof DuobitError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (
    thrown instanceof RangeError &&
    /allocat|array (buffer )?length|invalid typed array length/i.test(message)
  ) {
    return new DuobitError('OUT_OF_MEMORY', `not enough memory: ${message}`, {
      remedy: 'Close other programs, shorten --context or use a smaller model',
      cause: thrown,
    });
  }
  if (thrown instanceof Error && 'syscall' in thrown && 'code' in thrown) {
    return new DuobitError('FILE_IO', message, {
      remedy: 'Check that the path exists, is readable or writable, and that the disk has room',
      cause: thrown,
    });
  }
  return new DuobitError('INTERNAL', message, {
    remedy: 'This is a defect of Duobit: please report it with the output of DUOBIT_DEBUG=1',
    cause: thrown,
  });
}
