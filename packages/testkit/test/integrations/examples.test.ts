// The examples, started as their READMEs say, on what is built here.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChromium, launchChromium, startRangeServer } from '@duobit/testkit/chromium';
import { build } from 'vite';
import { afterAll, describe, expect, it } from 'vitest';

const EXAMPLES = fileURLToPath(new URL('../../../../examples/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'duobit-examples-'));
afterAll(() => rmSync(folder, { recursive: true }));
const chromium = findChromium();
const SECONDS = 240;

/** Runs a script of an example's package.json with this input. */
function runScript(example: string, script: string, input = '') {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(
      'npm',
      ['run', '--silent', script],
      { cwd: join(EXAMPLES, example) },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
    child.stdin!.end(input);
  });
}

describe('examples', () => {
  it('chat in Node', { timeout: SECONDS * 1000 }, async () => {
    const { code, stdout, stderr } = await runScript(
      'node-chat',
      'start',
      'Once upon a time\nTom had a red ball.\n',
    );
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('tinystories-656k');
    const answers = stdout
      .trim()
      .split('\n')
      .filter((line) => line.trim() !== '');
    expect(answers.length).toBeGreaterThanOrEqual(2);
    expect(stderr).not.toMatch(/[A-Z]+_[A-Z]+:/);
  });

  it('check a model', { timeout: SECONDS * 1000 }, async () => {
    const { code, stdout, stderr } = await runScript('model-check', 'check');
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('same');
  });

  it.skipIf(chromium === null)('chat in a page', { timeout: SECONDS * 1000 }, async () => {
    const root = join(EXAMPLES, 'vite-chat');
    const outDir = join(folder, 'page');
    await build({ root, configFile: join(root, 'vite.config.ts'), logLevel: 'error', build: { outDir } });
    const server = await startRangeServer();
    for (const entry of readdirSync(outDir, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) server.files.set(relative(outDir, path), { body: readFileSync(path) });
    }
    const browser = await launchChromium(chromium!);
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(SECONDS * 1000);
      await page.goto(`${server.url}index.html`);
      await page.getByText('goes on with what you write').waitFor();
      await page.getByLabel('message').fill('Once upon a time');
      await page.getByRole('button', { name: 'Send' }).click();
      await page
        .locator('#messages .assistant')
        .filter({ hasText: /\w+ \w+ \w+/ })
        .waitFor();
      await page.getByRole('button', { name: 'Send', disabled: false }).waitFor();
      expect(await page.getByRole('status').innerText()).toContain('tinystories-656k');
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
