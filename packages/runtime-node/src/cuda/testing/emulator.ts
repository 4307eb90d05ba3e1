// For tests: the emulator's library, built if need be (scripts/build-emulator.mjs).
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * The library's path, or why there is none.
 * @param watched the one that finds races, and is slow
 */
export function buildEmulator(watched = false): { readonly path: string; readonly reason: string | null } {
  const script = fileURLToPath(new URL('../../../scripts/build-emulator.mjs', import.meta.url));
  const command = watched ? [script, '--watched'] : [script];
  try {
    return { path: execFileSync(process.execPath, command, { encoding: 'utf8' }).trim(), reason: null };
  } catch (error) {
    const said = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    return { path: '', reason: `the emulator was not built: ${said}` };
  }
}
