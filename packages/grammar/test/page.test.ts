// Grammars in a real browser, bundled by Vite: the library is a chunk of its own, and works as it is.
import { findChromium, launchChromium, startServer } from '@duobit/testkit/chromium';
import { build } from 'vite';
import { describe, expect, it } from 'vitest';

const chromium = findChromium();

async function bundlePage(): Promise<Map<string, string>> {
  const { output } = (await build({
    configFile: false,
    root: import.meta.dirname,
    logLevel: 'silent',
    resolve: { conditions: ['@duobit/source'] },
    build: { write: false, rollupOptions: { input: `${import.meta.dirname}/page.ts` } },
  })) as { output: readonly { fileName: string; code?: string }[] };
  return new Map(output.map(({ fileName, code = '' }) => [`/${fileName}`, code]));
}

describe.skipIf(chromium === null)('grammars in a page', () => {
  it('are loaded when they are used, and hold what is written', async () => {
    const files = await bundlePage();
    const [entry] = [...files.keys()].filter((name) => name.includes('page-'));
    const requested: string[] = [];
    const server = await startServer(({ url = '' }, response) => {
      requested.push(url);
      const code = files.get(url);
      response.setHeader('Content-Type', code === undefined ? 'text/html' : 'text/javascript');
      response.end(code ?? `<!doctype html><script type="module" src="${entry}"></script>`);
    });
    const browser = await launchChromium(chromium!);
    try {
      const page = await browser.newPage();
      await page.goto(server.url, { waitUntil: 'load' });
      const large = (): number => requested.filter((url) => (files.get(url)?.length ?? 0) > 100_000).length;
      expect(large()).toBe(0);
      const written = await page.evaluate('write()');
      expect(written).toBe('{"a": "x"}');
      expect(large()).toBe(1);
      expect(await page.evaluate('typeof xgrammar')).toBe('undefined');
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
