// The GitHub Action and the pre-commit hook, run as their callers run them, with the command line that is built here.
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const COMMAND = `"${process.execPath}" "${join(ROOT, 'packages/cli/bin/duobit.mjs')}"`;
const ACTION = join(ROOT, 'integrations/github-action');

interface Action {
  readonly inputs: Record<string, { readonly default?: string }>;
  readonly outputs: Record<string, { readonly value: string }>;
  readonly runs: {
    readonly steps: readonly { readonly run: string; readonly env: Record<string, string> }[];
  };
}
interface Hook {
  readonly id: string;
  readonly entry: string;
  readonly files: string;
}

const folder = mkdtempSync(join(tmpdir(), 'duobit-integrations-'));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;

/** A repository with these files of fixtures/, under the names given. */
function makeRepository(files: Record<string, string>): string {
  const path = join(folder, `repository ${(count += 1)}`);
  for (const [name, fixture] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true });
    copyFileSync(join(ROOT, 'fixtures', fixture), join(path, name));
  }
  return path;
}

function execute(command: string, args: string[], cwd: string, env: Record<string, string>) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(command, args, { cwd, env: { PATH: process.env.PATH, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

/** What the runner does with a composite action of one step. */
async function runAction(cwd: string, given: Record<string, string>) {
  const action: Action = parse(readFileSync(join(ACTION, 'action.yml'), 'utf8'));
  const inputs = { command: COMMAND, ...given };
  const [step] = action.runs.steps;
  const env: Record<string, string> = { GITHUB_ACTION_PATH: ACTION };
  for (const [name, value] of Object.entries(step!.env)) {
    const input = /^\$\{\{ inputs\.(\w+) \}\}$/.exec(value)![1]!;
    env[name] = inputs[input as keyof typeof inputs] ?? action.inputs[input]!.default ?? '';
  }
  const at = join(folder, `runner-${(count += 1)}`);
  mkdirSync(at);
  const [output, summary] = [join(at, 'output'), join(at, 'summary')];
  for (const path of [output, summary]) writeFileSync(path, '');
  Object.assign(env, { GITHUB_OUTPUT: output, GITHUB_STEP_SUMMARY: summary });
  const result = await execute('bash', ['-e', '-o', 'pipefail', '-c', step!.run], cwd, env);
  const outputs = Object.fromEntries(
    readFileSync(output, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('=') as [string, string]),
  );
  expect(Object.keys(action.outputs)).toEqual(expect.arrayContaining(Object.keys(outputs)));
  return { ...result, outputs, summary: readFileSync(summary, 'utf8') };
}

describe('the GitHub Action', () => {
  it('passes valid models, and counts them', async () => {
    const repository = makeRepository({
      'models/a.duo': 'good/w11.duo',
      'models/deep/b.duo': 'good/minimal.duo',
    });
    const { code, stdout, outputs, summary } = await runAction(repository, {});
    expect(stdout).not.toContain('::error');
    expect(code).toBe(0);
    expect(outputs).toEqual({ files: '2', invalid: '0' });
    expect(summary).toContain('| `models/a.duo` | valid |');
  });

  it('shows each problem at its file', async () => {
    const repository = makeRepository({
      'good.duo': 'good/w11.duo',
      'bad, 100%.duo': 'invalid/alpha-nan.duo',
    });
    const { code, stdout, outputs, summary } = await runAction(repository, {
      path: 'good.duo\nbad, 100%.duo',
    });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^::error file=bad%2C 100%25\.duo,title=VALUE_NOT_FINITE::VALUE_NOT_FINITE: .+$/m);
    expect(outputs).toEqual({ files: '2', invalid: '1' });
    expect(summary).toContain('| `bad, 100%.duo` | VALUE_NOT_FINITE |');
  });

  it('reads no weights at level header', async () => {
    const repository = makeRepository({ 'bad.duo': 'invalid/alpha-nan.duo' });
    expect(await runAction(repository, { level: 'header' })).toMatchObject({ code: 0 });
  });

  it.each([
    ['no container', {}, 'no .duo file in .'],
    ['a level that does not exist', { level: 'high' }, 'level is header, deep, canonical; not "high"'],
    ['a file that does not exist', { path: 'none.duo' }, 'SOURCE_MISSING'],
    ['a command that is not duobit', { command: 'true', path: 'none.duo' }, 'Is duobit installed?'],
  ])('fails for %s', async (_name, inputs, message) => {
    const repository = makeRepository({ 'readme.md': 'README.md' });
    const { code, stdout } = await runAction(repository, inputs);
    expect(stdout).toContain('::error');
    expect(stdout).toContain(message);
    expect(code).toBe(1);
  });
});

describe('the pre-commit hook', () => {
  const [hook]: Hook[] = parse(readFileSync(join(ROOT, '.pre-commit-hooks.yaml'), 'utf8'));
  const runHook = (cwd: string, ...args: string[]) =>
    execute(join(ROOT, hook!.entry), args, cwd, { DUOBIT_COMMAND: COMMAND });

  it('takes containers and data files', () => {
    const pattern = new RegExp(hook!.files);
    expect(['a/b.duo', 'b-00001.duodata'].every((name) => pattern.test(name))).toBe(true);
    expect(['duo', 'b.duo.sig', 'b.duo.md'].some((name) => pattern.test(name))).toBe(false);
  });

  it('passes what is valid and refuses what is not', async () => {
    const repository = makeRepository({ 'good.duo': 'good/w11.duo', 'bad.duo': 'malformed/header-hash.duo' });
    expect(await runHook(repository, 'good.duo')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const { code, stderr } = await runHook(repository, 'good.duo', 'bad.duo');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^bad\.duo: HEADER_HASH: /);
    expect(await runHook(repository, '--level', 'high', 'good.duo')).toMatchObject({ code: 1 });
  });

  it('checks the containers beside a data file', async () => {
    const repository = makeRepository({
      'data-file-chunk.duo': 'invalid/data-file-chunk.duo',
      'data-file-chunk.duodata': 'invalid/data-file-chunk.duodata',
    });
    const { code, stderr } = await runHook(repository, 'data-file-chunk.duodata');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^data-file-chunk\.duo: /);
  });
});
