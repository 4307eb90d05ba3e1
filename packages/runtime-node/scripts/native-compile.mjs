// Compiles the addon's C++, several files at once. A compiler is an array: the command and the arguments that come first.
import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { machineFlags } from './native-flags.mjs';

const execute = promisify(execFile);
export const NATIVE = join(dirname(fileURLToPath(import.meta.url)), '..', 'native');

/** Runs a command and gives what it printed; fails with what it wrote to stderr. */
export async function run([command, ...first], args = [], options = {}) {
  try {
    const { stdout } = await execute(command, [...first, ...args], { maxBuffer: 2 ** 26, ...options });
    return stdout;
  } catch (error) {
    throw new Error((error.stderr || error.message).trim());
  }
}

/** The first line of a compiler's version; null where there is none. */
export async function compilerVersion(compiler) {
  try {
    return (await run(compiler, ['--version'])).split('\n')[0];
  } catch {
    return null;
  }
}

export async function listSources() {
  return (await readdir(NATIVE)).filter((name) => /\.(h|cpp)$/.test(name)).sort();
}

/**
 * Compiles the files given, or all of the addon's, into objects in a folder, for a processor by Node's name. `machine`
 * gives the flags of one file.
 */
export async function compile({ compiler, flags, processor, folder, files, machine = machineFlags }) {
  await mkdir(folder, { recursive: true });
  const waiting = files ?? (await listSources()).filter((name) => name.endsWith('.cpp'));
  const objectOf = (name) => join(folder, `${basename(name, '.cpp')}.o`);
  const objects = waiting.map(objectOf);
  const queue = [...waiting];
  const compileNext = async () => {
    for (let name = queue.shift(); name; name = queue.shift()) {
      const own = machine(basename(name), processor);
      await run(compiler, [...flags, ...own, '-c', join(NATIVE, name), '-o', objectOf(name)]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, compileNext));
  return objects;
}

/**
 * Compiles the addon's C++ without its face towards Node into programs, one with each of native/test/<test>.cpp; gives their
 * paths.
 */
export async function compileTests({ compiler, flags, processor, folder, tests, link = [] }) {
  const own = (await listSources()).filter((name) => name.endsWith('.cpp') && !name.startsWith('addon'));
  const files = [...own, ...tests.map((test) => `test/${test}.cpp`)];
  const objects = await compile({ compiler, flags, processor, folder, files });
  const shared = objects.slice(0, own.length);
  const programs = tests.map((test) => join(folder, test));
  for (const [i, program] of programs.entries())
    await run(compiler, [...link, '-pthread', ...shared, objects[own.length + i], '-o', program]);
  return programs;
}

/** As compileTests, of one. */
export async function compileTest({ test, ...rest }) {
  const [program] = await compileTests({ ...rest, tests: [test] });
  return program;
}
