// A program of TypeScript modules in a process of its own, for tests that need some to kill.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';

/**
 * Bundles a module and the packages of this repository, and gives the file, which finds all others where they are installed.
 * @param source text of the module; its imports are relative to `folder`
 */
export async function bundleForNode(name: string, source: string, folder: string): Promise<string> {
  const outfile = join(packageOf(folder), '.cache', `${name}.mjs`);
  await mkdir(dirname(outfile), { recursive: true });
  await build({
    stdin: { contents: source, resolveDir: folder, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['@duobit/source'],
    plugins: [
      {
        name: 'installed packages',
        setup: ({ onResolve }) =>
          onResolve({ filter: /^[^./]/ }, ({ path }) =>
            path.startsWith('@duobit/') ? undefined : { path, external: true },
          ),
      },
    ],
    outfile,
    logLevel: 'error',
  });
  return outfile;
}

/** Where a built file would look for its package.json, too: one folder above. */
function packageOf(folder: string): string {
  let found = folder;
  while (!existsSync(join(found, 'package.json'))) found = dirname(found);
  return found;
}

export interface Program<T> {
  /** What it sent with `process.send`, or null when it was killed. @throws what it wrote on stderr when it failed */
  readonly result: Promise<T | null>;
  /** With SIGKILL. */
  kill(): void;
}

/** Runs a bundled program, which sends one message. */
export function runProgram<T>(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Program<T> {
  const child: ChildProcess = fork(file, args, { env: { PATH: process.env.PATH, ...env }, silent: true });
  let stderr = '';
  child.stderr?.on('data', (piece) => {
    stderr += piece;
  });
  let message: T | null = null;
  child.on('message', (found) => {
    message = found as T;
  });
  const result = once(child, 'close').then(([code, signal]) => {
    if (signal === null && code !== 0) throw new Error(`the program failed: ${stderr}`);
    return message;
  });
  result.catch(() => {});
  return { result, kill: () => child.kill('SIGKILL') };
}
