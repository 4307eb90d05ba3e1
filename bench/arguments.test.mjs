// Scripts say how they are called.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(path.join(tmpdir(), 'duobit-arguments-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const script = path.join(folder, 'script.mjs');
writeFileSync(
  script,
  `// Measures.
//
//   node script.mjs [--count 3]
import { readArguments } from ${JSON.stringify(new URL('./arguments.mjs', import.meta.url).href)};

console.log(readArguments({ count: { type: 'string', default: '3' } }, import.meta.url).count);
`,
);
const run = (...argv) => spawnSync(process.execPath, [script, ...argv], { encoding: 'utf8' });
const USAGE = 'Measures.\n\n  node script.mjs [--count 3]\n';

it('has options and defaults', () => {
  expect(run().stdout).toBe('3\n');
  expect(run('--count', '5').stdout).toBe('5\n');
});

it('prints its first comment when asked, and when it is called wrongly', () => {
  expect(run('--help')).toMatchObject({ status: 0, stdout: USAGE, stderr: '' });
  for (const argv of [['--none'], ['--count'], ['word']]) {
    const { status, stdout, stderr } = run(...argv);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^[^\n]+\n\nMeasures\./);
    expect(stderr).not.toContain('    at ');
  }
});
