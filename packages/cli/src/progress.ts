// Progress on stderr: a bar on a terminal, a few plain lines otherwise (logs should not grow with the model).
import { Presets, SingleBar } from 'cli-progress';
import type { Io } from './io.ts';

export interface ProgressReporter {
  /** `done` of `total` units of `phase`; `detail` is what is being worked on. */
  update(phase: string, done: number, total: number, detail?: string): void;
  /** Ends the current bar. Call it before printing anything else, also after a failure. */
  stop(): void;
}

export interface ProgressOptions {
  /** Plain lines a phase gets, evenly spread; 0 keeps quiet off the terminal. Default 1: only its end. */
  readonly lines?: Readonly<Record<string, number>>;
}

export function createProgress(io: Io, options: ProgressOptions = {}): ProgressReporter {
  return io.stderr.isTTY === true ? new TerminalProgress(io) : new LineProgress(io, options.lines ?? {});
}

class TerminalProgress implements ProgressReporter {
  readonly #io: Io;
  #bar: SingleBar | null = null;
  #phase = '';

  constructor(io: Io) {
    this.#io = io;
  }

  update(phase: string, done: number, total: number, detail = ''): void {
    if (total <= 0) return;
    if (phase !== this.#phase || this.#bar === null) {
      this.stop();
      this.#phase = phase;
      this.#bar = new SingleBar(
        {
          stream: this.#io.stderr,
          format: '{phase} [{bar}] {percentage}% {duration_formatted} {detail}',
          hideCursor: true,
          clearOnComplete: false,
          // Ctrl-C is the command's: it stops the work, removes temporary files, then stops the bar.
          gracefulExit: false,
        },
        Presets.shades_classic,
      );
      this.#bar.start(total, 0, { phase: phase.padEnd(10), detail });
    }
    this.#bar.update(done, { detail });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
    this.#phase = '';
  }
}

class LineProgress implements ProgressReporter {
  readonly #io: Io;
  readonly #lines: Readonly<Record<string, number>>;
  #phase = '';
  #printed = 0;

  constructor(io: Io, lines: Readonly<Record<string, number>>) {
    this.#io = io;
    this.#lines = lines;
  }

  update(phase: string, done: number, total: number): void {
    if (total <= 0) return;
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#printed = 0;
    }
    const lines = this.#lines[phase] ?? 1;
    const reached = Math.floor((Math.min(done, total) / total) * lines);
    if (reached <= this.#printed) return;
    this.#printed = reached;
    this.#io.stderr.write(`${phase}: ${Math.round((reached / lines) * 100)}%\n`);
  }

  stop(): void {
    this.#phase = '';
  }
}
