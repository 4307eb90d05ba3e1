// Runs the command line in-process with captured streams, and gives each test file a folder and, when it asks, a
// container made once from the embedded checkpoint.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect } from 'vitest';
import { type Io, main } from '../src/main.ts';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const CHECKPOINT = join(ROOT, 'fixtures/tinystories-656k');
export const HELDOUT = join(ROOT, 'fixtures/stories/heldout.txt');
export const PROMPT = 'Once upon a time';

export class Capture extends Writable {
  text = '';
  readonly isTTY: boolean;
  /** Called after each write of something, to interrupt a command in the middle. */
  readonly #onWrite: (text: string) => void;

  constructor(isTTY = false, onWrite: (text: string) => void = () => undefined) {
    super();
    this.isTTY = isTTY;
    this.#onWrite = onWrite;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const text = chunk.toString('utf8');
    this.text += text;
    try {
      if (text !== '') this.#onWrite(text);
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

export interface CliOptions {
  readonly tty?: boolean;
  readonly signal?: AbortSignal;
  readonly env?: Record<string, string>;
  /** What is piped, or a keyboard. Default: a keyboard that nobody touches. */
  readonly stdin?: string | Io['stdin'];
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
}

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A terminal's input. */
export function createKeyboard(): PassThrough & { readonly isTTY: true } {
  return Object.assign(new PassThrough(), { isTTY: true } as const);
}

/** Streams and environment of a command that nobody interrupts. */
export function createIo(given: Partial<Io> = {}): Io {
  return {
    stdin: createKeyboard(),
    stdout: new Capture(),
    stderr: new Capture(),
    signal: new AbortController().signal,
    env: {},
    ...given,
  };
}

export async function runCli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const stdout = new Capture(options.tty, options.onStdout);
  const stderr = new Capture(options.tty, options.onStderr);
  const { stdin, signal, env } = options;
  const code = await main(
    argv,
    createIo({
      stdout,
      stderr,
      ...(stdin !== undefined && { stdin: typeof stdin === 'string' ? Readable.from([stdin]) : stdin }),
      ...(signal !== undefined && { signal }),
      ...(env !== undefined && { env }),
    }),
  );
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** Runs with `--json` and parses all of stdout, which must be one object. */
export async function runJson(
  argv: readonly string[],
  options: CliOptions = {},
): Promise<CliResult & { readonly json: Record<string, unknown> }> {
  const result = await runCli([...argv, '--json'], options);
  return { ...result, json: JSON.parse(result.stdout) };
}

/** The figures in the record of an evaluation. */
export function resultOf(json: Record<string, unknown>): { perplexity: number; nll: number } {
  return json.result as { perplexity: number; nll: number };
}

/** A temporary folder for a test file, removed at its end. */
export function useFolder(): { path(name: string): string } {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'duobit-cli-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return { path: (name) => join(folder, name) };
}

/** The embedded checkpoint as a container in `folder`, made once for the test file. */
export function useContainer(folder: { path(name: string): string }): { path(): string } {
  beforeAll(async () => {
    const { code, stderr } = await runCli(['quantize', CHECKPOINT, '-o', folder.path('tiny.duo')]);
    if (code !== 0) throw new Error(`the test container cannot be made: ${stderr}`);
  });
  return { path: () => folder.path('tiny.duo') };
}

/** Every top-level JSON field must have a row in the command's section of docs/cli.md. */
export function expectDocumented(command: string, json: Record<string, unknown>): void {
  const page = readFileSync(join(ROOT, 'docs/cli.md'), 'utf8');
  const section = page.split(`\n## duobit ${command}\n`)[1]?.split('\n## ')[0] ?? '';
  const fields = [...section.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([a-z0-9_]+)(?:\[\])?`/g)].map(([, name]) => name),
  );
  expect(Object.keys(json).filter((key) => !fields.includes(key))).toEqual([]);
  expect(fields.filter((field) => !(field! in json))).toEqual([]);
}
