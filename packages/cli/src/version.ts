// Which Duobit this is: its version, and the commit where it runs from a working tree.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export const { version: VERSION }: { version: string } = createRequire(import.meta.url)('../package.json');

/** The commit, with '-dirty' after it when tracked files differ; null outside a working tree, or without git. */
export function findCommit(): string | null {
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    // Fails when the repository around is that of a project which has Duobit installed.
    git('ls-files', '--error-unmatch', 'package.json');
    return git('describe', '--always', '--dirty', '--abbrev=40', '--exclude=*');
  } catch {
    return null;
  }
}
