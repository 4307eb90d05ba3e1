// Runs the hook of .pre-commit-hooks.yaml through pre-commit itself, from PyPI, in a repository made for it: a good model passes, a
// damaged one does not. Says when there is no Python or PyPI, and fails then only with --require.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const VERSION = '4.7.0';
const folder = mkdtempSync(join(tmpdir(), 'duobit-pre-commit-'));

function run(command, args, cwd = folder, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, PRE_COMMIT_HOME: join(folder, 'home'), ...env },
  });
  return { ok: status === 0, output: `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}` };
}

function install() {
  const venv = join(folder, 'venv');
  const made = run('python3', ['-m', 'venv', venv]);
  if (!made.ok) return made;
  return run(join(venv, 'bin/pip'), ['install', '--quiet', `pre-commit==${VERSION}`]);
}

try {
  const installed = install();
  if (!installed.ok) {
    console.log(`pre-commit: not run, since it cannot be installed: ${installed.output.trim()}`);
    process.exitCode = process.argv.includes('--require') ? 1 : 0;
  } else {
    const repository = join(folder, 'repository');
    mkdirSync(repository);
    copyFileSync(join(ROOT, 'fixtures/good/w11.duo'), join(repository, 'good.duo'));
    copyFileSync(join(ROOT, 'fixtures/invalid/alpha-nan.duo'), join(repository, 'bad.duo'));
    run('git', ['init', '--quiet'], repository);
    run('git', ['add', '.'], repository);
    const command = `"${process.execPath}" "${join(ROOT, 'packages/cli/bin/duobit.mjs')}"`;
    const hook = (file) =>
      run(
        join(folder, 'venv/bin/pre-commit'),
        ['try-repo', ROOT, 'duobit-validate', '--verbose', '--files', file],
        repository,
        { DUOBIT_COMMAND: command },
      );
    const good = hook('good.duo');
    const bad = hook('bad.duo');
    const passed = good.ok && good.output.includes('Passed');
    const refused = !bad.ok && bad.output.includes('bad.duo: VALUE_NOT_FINITE');
    if (!passed || !refused) console.error(passed ? bad.output : good.output);
    console.log(
      `pre-commit ${VERSION}: a good model ${passed ? 'passes' : 'FAILS'}, a damaged one ${refused ? 'fails' : 'PASSES'}`,
    );
    process.exitCode = passed && refused ? 0 : 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
