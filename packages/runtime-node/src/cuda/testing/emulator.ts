// For tests: the emulator's library, built if need be (scripts/build-emulator.mjs).
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The library's path, or why there is none. */
export function buildEmulator(): { readonly path: string; readonly reason: string | null } {
  const script = fileURLToPath(new URL('../../../scripts/build-emulator.mjs', import.meta.url));
  try {
    return { path: execFileSync(process.execPath, [script], { encoding: 'utf8' }).trim(), reason: null };
  } catch (error) {
    const said = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    return { path: '', reason: `the emulator was not built: ${said}` };
  }
}
