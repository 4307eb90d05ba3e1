// Every program of README.md and docs/: TypeScript is checked against the built packages, as somebody who has installed them would,
// and all run, in Node or, when they import @duobit/runtime-web, in Chromium.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleForBrowser, findChromium, launchChromium } from '@duobit/testkit/chromium';
import { transform } from 'esbuild';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Block, listBlocks, nameOf, ROOT } from './blocks.ts';
import { openWorld, type World } from './world.ts';

const blocks = [...listBlocks('ts'), ...listBlocks('js')];
const chromium = findChromium();
const isWeb = ({ text, given }: Block) => [text, ...given].join('\n').includes("'@duobit/runtime-web");
const SECONDS = 240;

let world: World;
/** Below the root, so that packages are found. */
let folder: string;
beforeAll(async () => {
  world = await openWorld();
  mkdirSync(join(ROOT, 'out'), { recursive: true });
  folder = mkdtempSync(join(ROOT, 'out/snippets-'));
}, SECONDS * 1000);
afterAll(async () => {
  await world?.close();
  if (folder) rmSync(folder, { recursive: true });
});

/** `export {}` makes it a module, whatever it imports. */
const sourceOf = ({ given, text }: Block) => world.substitute([...given, text, 'export {};\n'].join('\n'));

const pathOf = (block: Block) =>
  join(folder, `${nameOf(block).replaceAll(/[^\w.]/g, '-')}.${block.language === 'ts' ? 'ts' : 'mjs'}`);

async function runInNode(block: Block): Promise<void> {
  const source = sourceOf(block);
  const script = pathOf(block).replace(/\.ts$/, '.mjs');
  writeFileSync(script, (await transform(source, { loader: 'ts', format: 'esm', target: 'node20' })).code);
  const { code, output } = await world.run(world.makeFolder(source), { node: script });
  expect(code, output).toBe(0);
}

async function runInPage(block: Block): Promise<void> {
  const { files, url } = world.server;
  writeFileSync(pathOf(block), sourceOf(block));
  const worker = join(folder, 'model-worker.ts');
  writeFileSync(worker, "import '@duobit/runtime-web/worker';\n");
  const type = 'text/javascript';
  files.set('page.html', { body: '<!doctype html><title>page</title><body></body>' });
  files.set('page.js', { body: await bundleForBrowser(pathOf(block)), type });
  files.set('model-worker.ts', { body: await bundleForBrowser(worker), type });
  const browser = await launchChromium(chromium!);
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(SECONDS * 1000);
    await page.goto(`${url}page.html`);
    // As text, since vitest rewrites `import` in functions.
    await page.evaluate(`import(${JSON.stringify(`${url}page.js`)})`);
  } finally {
    await browser.close();
  }
}

describe('programs in the documentation', () => {
  it('have the types of the packages', { timeout: SECONDS * 1000 }, () => {
    const typed = blocks.filter(({ language }) => language === 'ts');
    for (const block of typed) writeFileSync(pathOf(block), sourceOf(block));
    const program = ts.createProgram(typed.map(pathOf), {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    });
    const complaints = ts
      .getPreEmitDiagnostics(program)
      .map(
        ({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
      );
    expect(typed.length).toBeGreaterThan(5);
    expect(complaints).toEqual([]);
  });

  for (const block of blocks.filter(({ skip }) => skip === null)) {
    if (isWeb(block))
      it.skipIf(chromium === null)(`${nameOf(block)} in Chromium`, { timeout: SECONDS * 1000 }, () =>
        runInPage(block),
      );
    else it(`${nameOf(block)} in Node`, { timeout: SECONDS * 1000 }, () => runInNode(block));
  }
});
