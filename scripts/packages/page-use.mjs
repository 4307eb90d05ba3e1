// A package in the hands of a page: the example of its README, built by Vite and opened in Chromium beside model.duo.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { findChromium, launchChromium, startRangeServer } from '@duobit/testkit/chromium';
import { ROOT } from './workspace.mjs';

const VITE = join(ROOT, 'node_modules/vite/bin/vite.js');
/** What the example's module worker and `await` outside functions want. */
const CONFIG = "export default { worker: { format: 'es' }, build: { target: 'es2022' } };\n";
/** Long enough for any machine; a page that fails says so before. */
const PATIENCE_MS = 300_000;

function readFolder(folder) {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(folder, path), new Uint8Array(readFileSync(path))]),
  );
}

/** Builds and opens the page. @returns the text that it wrote, and the browser's name with its version */
export async function loadInPage(project, example) {
  const chromium = findChromium();
  if (chromium === null) throw new Error('no Chromium; npm run setup:browser installs one');
  writeFileSync(join(project, 'index.html'), '<script type="module" src="./page.ts"></script>\n');
  writeFileSync(join(project, 'page.ts'), `${example}document.title = 'done';\n`);
  writeFileSync(join(project, 'model-worker.ts'), "import '@duobit/runtime-web/worker';\n");
  mkdirSync(join(project, 'public'));
  copyFileSync(join(project, 'model.duo'), join(project, 'public', 'model.duo'));
  writeFileSync(join(project, 'vite.config.js'), CONFIG);
  // A process of its own: Vite sets NODE_ENV, with which npm leaves out what is for development.
  execFileSync(process.execPath, [VITE, 'build', '--logLevel', 'error'], { cwd: project, stdio: 'inherit' });

  const server = await startRangeServer({ files: readFolder(join(project, 'dist')) });
  const browser = await launchChromium(chromium);
  try {
    const page = await browser.newPage();
    const failed = new Promise((_, reject) => page.on('pageerror', reject));
    await page.goto(`${server.url}index.html`);
    const finished = page.waitForFunction(() => document.title === 'done', undefined, {
      timeout: PATIENCE_MS,
    });
    await Promise.race([finished, failed]);
    const text = await page.evaluate(() => document.body.textContent);
    if (text.trim() === '') throw new Error('the page wrote nothing');
    return { text, browser: `Chromium ${browser.version()}` };
  } finally {
    await browser.close();
    await server.close();
  }
}
