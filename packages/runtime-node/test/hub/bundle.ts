// A program of TypeScript modules as one file that Node runs, for tests that need processes to kill.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { build } from 'esbuild';

/** Bundles `source`, whose imports are relative to this folder. */
export async function bundleForNode(source: string, outfile: string): Promise<void> {
  await build({
    stdin: { contents: source, resolveDir: import.meta.dirname, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['@duobit/source'],
    // Loaded only where there are proxies.
    external: ['undici'],
    outfile,
    logLevel: 'error',
  });
}

export interface Child<T> {
  readonly pid: number;
  /** What it sent, or null when it was killed. */
  readonly result: Promise<T | null>;
  kill(): void;
}

/** Runs a bundled program, which sends one message with its result. */
export function run<T>(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Child<T> {
  const child = fork(program, args, { env, silent: true });
  let stderr = '';
  child.stderr!.on('data', (piece) => {
    stderr += piece;
  });
  let message: T | null = null;
  child.on('message', (found) => {
    message = found as T;
  });
  const result = once(child, 'close').then(([code, signal]) => {
    if (signal === null && code !== 0) throw new Error(`the child failed: ${stderr}`);
    return message;
  });
  result.catch(() => {});
  return { pid: child.pid!, result, kill: () => child.kill('SIGKILL') };
}
