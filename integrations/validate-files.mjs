// Validates containers with the command line, one process each, and gives what it found. Shared by the action and the hook; needs
// nothing but Node.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Installed beside the caller's own packages, or fetched. */
export const DEFAULT_COMMAND = 'npx --yes duobit';

const OPTIONS = { header: ['--header-only'], deep: [], canonical: ['--canonical'] };

export const LEVELS = Object.keys(OPTIONS);

/** Containers that paths stand for: of a folder all in it, of a data file those beside it, which it may belong to. */
export function listContainers(paths) {
  const found = paths.flatMap((path) => {
    if (existsSync(path) && statSync(path).isDirectory())
      return readdirSync(path, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.duo') && !/(^|[\\/])(node_modules|\.git)[\\/]/.test(name))
        .map((name) => join(path, name));
    if (!path.endsWith('.duodata')) return [path];
    const folder = dirname(path);
    return existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => name.endsWith('.duo'))
          .map((name) => join(folder, name))
      : [];
  });
  return [...new Set(found)].sort();
}

/**
 * @param level how much is checked: `header`, `deep` or `canonical`
 * @param command of the shell, that runs `duobit`
 * @returns {Promise<{ code: string, where: string | null, message: string, remedy: string | null }[]>} none: the file is valid
 * @throws Error when the command does not answer as `duobit validate --json` does
 */
export async function validateFile(file, level, command = DEFAULT_COMMAND) {
  // The file's name is an argument of the shell, not a part of its text.
  const line = `${command} validate --json ${OPTIONS[level].join(' ')} -- "$DUOBIT_FILE"`;
  const child = spawn(process.platform === 'win32' ? line.replace('$DUOBIT_FILE', '%DUOBIT_FILE%') : line, {
    shell: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, DUOBIT_FILE: file },
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece) => {
    text += piece;
  });
  const status = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`"${command}" ended with ${status} and no report. Is duobit installed?`);
  }
  if (answer.error) return [answer.error];
  const more = answer.problems_not_listed;
  return more > 0
    ? [...answer.problems, { code: 'MORE', where: null, message: `${more} more problems`, remedy: null }]
    : answer.problems;
}

/** One line: code, message, place and remedy. */
export function describeProblem({ code, where, message, remedy }) {
  return `${code}: ${message}${where ? ` (${where})` : ''}${remedy ? `. ${remedy}` : ''}`;
}
