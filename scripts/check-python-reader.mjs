// Runs the second reader of the specification (conformance/python) over the conformance corpus, and compares its
// verdicts on damaged files with those of packages/format. Makes a virtual environment with the pinned packages of
// requirements.txt, from PyPI. Without python3 it says that it is skipped.
//   --require        python3 must be there
//   --mutants N      damaged files to compare; default 5000, 0 for none
//   --seed N         of the damaged files; default 1
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const FOLDER = join(ROOT, 'conformance/python');
const VENV = join(FOLDER, '.venv');
const TARGET = join(VENV, 'packages');
const VERDICTS = join(VENV, 'verdicts.jsonl');
const STAMP = join(VENV, 'installed.txt');
const OLDEST = '3.10';

const { values: options } = parseArgs({
  options: {
    require: { type: 'boolean', default: false },
    mutants: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
  },
});

function run(command, args, settings = {}) {
  const env = {
    ...process.env,
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONPATH: TARGET,
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
  };
  return spawnSync(command, args, { cwd: FOLDER, env, encoding: 'utf8', ...settings });
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** The first python3 on the PATH that is new enough, or null. */
function findPython() {
  for (const command of ['python3', 'python']) {
    const probe = run(command, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])']);
    if (probe.status !== 0) continue;
    const [major, minor] = probe.stdout.trim().split('.').map(Number);
    if (major === 3 && minor >= Number(OLDEST.split('.')[1])) return command;
  }
  return null;
}

/** The interpreter with the pinned packages: of a virtual environment, else with the packages in a folder. */
function install(python) {
  const wanted = readFileSync(join(FOLDER, 'requirements.txt'), 'utf8');
  const own = join(VENV, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) return existsSync(own) ? own : python;
  rmSync(VENV, { recursive: true, force: true });
  const made = run(python, ['-m', 'venv', VENV]).status === 0;
  // Debian's python3 without python3-venv has no ensurepip: the folder is half made and not used.
  if (!made) rmSync(VENV, { recursive: true, force: true });
  const pip = ['-m', 'pip', 'install', '--quiet', '--requirement', 'requirements.txt'];
  const installed = run(made ? own : python, made ? pip : [...pip, '--target', TARGET]);
  if (installed.status !== 0)
    fail(`pip could not install the packages:\n${installed.stdout}${installed.stderr}`);
  writeFileSync(STAMP, wanted);
  return made ? own : python;
}

const python = findPython();
if (python === null) {
  const message = `no python3 of version ${OLDEST} or newer on the PATH`;
  if (options.require) fail(`${message}; the second reader was not run`);
  console.log(`${message}: the check of the second reader is SKIPPED`);
  process.exit(0);
}
const interpreter = install(python);
const corpus = run(interpreter, ['run_corpus.py'], { stdio: 'inherit' });
if (corpus.status !== 0) fail('the second reader does not agree with the corpus');
if (Number(options.mutants) > 0) {
  const verdicts = join(ROOT, 'conformance/write-verdicts.mjs');
  const args = [verdicts, '--mutants', options.mutants, '--seed', options.seed, '--out', VERDICTS];
  if (run(process.execPath, args, { stdio: 'inherit', cwd: ROOT }).status !== 0)
    fail('no verdicts to compare with');
  const compared = run(interpreter, ['run_verdicts.py', VERDICTS], { stdio: 'inherit' });
  if (compared.status !== 0) fail('the two readers do not agree on damaged files');
}
