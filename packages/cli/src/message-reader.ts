// Messages that a person types at a terminal, or the lines of a pipe.
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { Io } from './io.ts';

const [PROMPT, GOES_ON] = ['> ', '… '];

export interface MessageReader {
  /** The next message, one line, or several where all but the last end in `\`; null after the last one. */
  read(): Promise<string | null>;
  close(): void;
}

/**
 * At a terminal, keys that are pressed while nothing is read are not shown, and wait.
 * @param onInterrupt called at a terminal for Ctrl-C, which then is no signal of the process
 */
export function createMessageReader(io: Io, signal: AbortSignal, onInterrupt: () => void): MessageReader {
  const terminal = io.stdin.isTTY === true;
  const echo = new Echo(io);
  const lines = createInterface({ input: io.stdin, ...(terminal && { output: echo, terminal }) });
  const iterator = lines[Symbol.asyncIterator]();
  let ended = false;
  let failure: Error | null = null;
  const close = (): void => lines.close();
  lines.on('close', () => {
    ended = true;
  });
  io.stdin.on('error', (error) => {
    failure = error;
    close();
  });
  lines.on('SIGINT', onInterrupt);
  if (signal.aborted) close();
  signal.addEventListener('abort', close, { once: true });

  const readLine = async (prompt: string): Promise<string | null> => {
    echo.muted = false;
    lines.setPrompt(prompt);
    if (terminal && !ended) lines.prompt();
    const { done, value } = await iterator.next();
    echo.muted = true;
    if (done !== true) return value;
    if (failure !== null) throw failure;
    return null;
  };
  return {
    async read() {
      const parts: string[] = [];
      for (;;) {
        const line = await readLine(parts.length === 0 ? PROMPT : GOES_ON);
        if (line?.endsWith('\\')) parts.push(line.slice(0, -1));
        else if (line !== null || parts.length > 0) return [...parts, line ?? ''].join('\n');
        else return null;
      }
    },
    close() {
      signal.removeEventListener('abort', close);
      close();
    },
  };
}

/** What readline writes, unless it is muted: on stdout where that is the terminal, so that it stays out of files. */
class Echo extends Writable {
  muted = false;
  readonly #to: Io['stdout'];

  constructor({ stdout, stderr }: Io) {
    super();
    this.#to = stdout.isTTY === true ? stdout : stderr;
  }

  get columns(): number | undefined {
    return this.#to.columns;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (!this.muted) this.#to.write(chunk);
    done();
  }
}
