// `npm run check:tarballs`: what those get who install the packages. Packs all of them and checks the tarballs; then, in empty folders
// outside the repository, with nothing but the tarballs and a registry for the packages of others: quantizes the embedded checkpoint,
// validates, runs, serves, and loads the model in a page; and installs each package by itself, imports it, compiles the example of
// its README with TypeScript's strictest settings, and runs it. Needs a build, Chromium and a network.
import { copyFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useCommands } from './packages/command-use.mjs';
import { checkFootprint } from './packages/footprint.mjs';
import { checkImports, checkTypes, readExample, runExample } from './packages/library-use.mjs';
import { loadInPage } from './packages/page-use.mjs';
import { checkTarball } from './packages/tarball-rules.mjs';
import { createProject, listPublished, pack, packNative, ROOT, readJson } from './packages/workspace.mjs';

/** Packages for pages: their examples are built by Vite and run in Chromium, and their types need none of Node's. */
const FOR_PAGES = ['@duobit/runtime-web'];

const work = mkdtempSync(join(tmpdir(), 'duobit-tarballs-'));
const started = performance.now();
const failures = [];
const done = (what) => console.log(`${((performance.now() - started) / 1000).toFixed(0)} s: ${what}`);

try {
  const packed = listPublished().map((entry) => ({ ...entry, ...pack(entry.folder, work) }));
  for (const entry of packed) {
    const { manifest, files, unpackedBytes } = entry;
    failures.push(...(await checkTarball(entry, work)).map((text) => `${manifest.name}: ${text}`));
    done(`${manifest.name} ${manifest.version}: ${files.length} files, ${unpackedBytes} bytes unpacked`);
  }
  if (failures.length > 0) throw new Error('the tarballs are not as they must be');

  const { version } = packed[0].manifest;
  const sources = [
    ...packed.map(({ manifest, tarball }) => [manifest.name, tarball]),
    ...packNative(work, version),
  ];
  const typesOfNode = readJson(join(ROOT, 'package.json')).devDependencies['@types/node'];
  const model = join(work, 'model.duo');
  const checkpoint = join(work, 'checkpoint');
  cpSync(join(ROOT, 'fixtures/tinystories-656k'), checkpoint, { recursive: true });
  let story = null;

  // The command line comes first, as it makes the model of the others.
  for (const { folder, manifest } of packed.sort(({ manifest }) => (manifest.name === 'duobit' ? -1 : 0))) {
    const { name } = manifest;
    const isForPages = FOR_PAGES.includes(name);
    const project = createProject(join(work, 'projects', name), sources, [name], {
      devDependencies: isForPages ? {} : { '@types/node': typesOfNode },
    });
    cpSync(checkpoint, join(project, 'checkpoint'), { recursive: true });
    failures.push(...checkFootprint(name, project));
    if (name === 'duobit') {
      story = await useCommands(project, done);
      copyFileSync(join(project, 'model.duo'), model);
    } else copyFileSync(model, join(project, 'model.duo'));

    const example = readExample(folder);
    failures.push(...checkTypes(project, manifest, example));
    if (isForPages) {
      const { text, browser } = await loadInPage(project, example);
      if (!story.includes(text)) failures.push(`${name}: the page wrote "${text}", the command "${story}"`);
      done(`${name}: types, and a page in ${browser}: "${text.trim()}"`);
    } else {
      checkImports(project, manifest);
      done(`${name}: imports, types, example: "${runExample(project, example).trim().slice(0, 60)}"`);
    }
    // Some are hundreds of megabytes.
    rmSync(project, { recursive: true });
  }
} catch (error) {
  failures.push(error.message);
} finally {
  rmSync(work, { recursive: true, force: true });
}
for (const failure of failures) console.error(`tarballs: ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
