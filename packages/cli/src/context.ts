// The state of one invocation that commands share: its io, its abort signal, its exit code, and the one way
// to give a result.
import type { Io } from './io.ts';

export interface Context {
  readonly io: Io;
  /** Aborted by Ctrl-C or when nobody reads stdout any more. */
  readonly signal: AbortSignal;
  exitCode: number;
  /** A signal is how the command is meant to end, and no interruption. */
  endsOnSignal?: boolean;
}

/** Prints a result: the object as one JSON document with `--json`, otherwise the text for people. */
export function emit(context: Context, json: boolean, result: object, text: () => string): void {
  context.io.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : text());
}

/** One line on stderr: notices and timings, never results. */
export function note(context: Context, line: string): void {
  context.io.stderr.write(`${line}\n`);
}
