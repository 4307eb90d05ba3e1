// What a command may touch of its process: three streams' worth of text, a signal and the environment. Tests
// hand in their own, so that every command runs in-process.
import type { Readable } from 'node:stream';

export type Input = Readable & { readonly isTTY?: boolean };
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** The streams, signal and environment that a command is given. */
export interface Io {
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The io of this process. The first Ctrl-C asks the command to stop and clean up; a second one stops at once. */
export function processIo(): Io {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const { stdin, stdout, stderr, env } = process;
  return { stdin, stdout, stderr, signal: controller.signal, env };
}
