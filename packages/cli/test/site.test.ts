// A published folder in a browser: the chat page with the model in it, served as a static host would.
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { findChromium, launchChromium, type ServedFile, startRangeServer } from '@duobit/testkit/chromium';
import { build } from 'vite';
import { describe, expect, it } from 'vitest';
import { ROOT, runCli, useFolder } from './harness.ts';

const folder = useFolder();
const chromium = findChromium();

describe.skipIf(chromium === null)('a published folder', () => {
  it('opens with its model, cut in data files', async () => {
    const page = folder.path('page');
    const configFile = join(ROOT, 'packages/runtime-web/demo/vite.config.ts');
    await build({ configFile, logLevel: 'error', build: { outDir: page } });
    const site = folder.path('site');
    const model = join(ROOT, 'fixtures/embedded/tinystories-656k.duo');
    const published = await runCli(['publish', model, '--to', site, '--page', page, '--shard-size', '300kB']);
    expect(published).toMatchObject({ code: 0 });
    const entries = await readdir(site, { recursive: true, withFileTypes: true });
    const paths = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const files: Record<string, ServedFile> = {};
    for (const path of paths) files[relative(site, path)] = { body: await readFile(path) };
    files[''] = { ...files['index.html']!, type: 'text/html; charset=utf-8' };
    const server = await startRangeServer({ files });
    const browser = await launchChromium(chromium!);
    try {
      const tab = await browser.newPage();
      const complaints: string[] = [];
      tab.on('pageerror', ({ message }) => complaints.push(message));
      await tab.goto(server.url);
      await tab.getByText('continues texts (it has no chat template)').waitFor();
      expect(await tab.innerText('body')).toContain('tinystories-656k');
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
