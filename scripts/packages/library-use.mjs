// A package in the hands of a program: the example of its README, compiled and run in a project that has nothing else.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './workspace.mjs';

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');
/** How packages are found by Node, and by bundlers; Vite reads tsconfig.json, too. */
const RESOLUTIONS = [
  { file: 'tsconfig.node.json', module: 'nodenext', moduleResolution: 'nodenext' },
  { file: 'tsconfig.json', module: 'esnext', moduleResolution: 'bundler' },
];

/** Types of TensorFlow.js need the DOM's and do not ask for them; those of all others are complete without. */
const NEEDS_DOM = ['duobit', '@duobit/quantizer', '@duobit/tfjs'];

/** The first example in TypeScript of a package's README. */
export function readExample(folder) {
  const path = join(folder, 'README.md');
  const [, example] = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(path, 'utf8')) ?? [];
  if (example === undefined) throw new Error(`${path} has no example in TypeScript`);
  return example;
}

/** What a program imports, by name: the package and its further entry points. */
const listEntries = ({ name, exports }) => Object.keys(exports).map((entry) => name + entry.slice(1));

/** Compiles example and entry points; @returns what TypeScript says. */
export function checkTypes(project, manifest, example) {
  writeFileSync(join(project, 'example.ts'), example);
  const imports = listEntries(manifest).map((entry) => `import '${entry}';\n`);
  writeFileSync(join(project, 'entries.ts'), imports.join(''));
  return RESOLUTIONS.flatMap(({ file, ...resolution }) => {
    const compilerOptions = {
      ...resolution,
      target: 'es2022',
      ...(NEEDS_DOM.includes(manifest.name) ? {} : { lib: ['es2022'] }),
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noUncheckedSideEffectImports: true,
      noEmit: true,
    };
    const config = join(project, file);
    writeFileSync(config, JSON.stringify({ compilerOptions, include: ['*.ts'] }));
    const options = { cwd: project, encoding: 'utf8' };
    const { status, stdout } = spawnSync(process.execPath, [TSC, '-p', config], options);
    return status === 0 ? [] : [`${manifest.name}, TypeScript with module ${resolution.module}: ${stdout}`];
  });
}

/** Imports every entry point in Node. @throws what Node says */
export function checkImports(project, manifest) {
  const imports = listEntries(manifest).map((entry) => `import '${entry}';`);
  const options = { cwd: project, stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync(process.execPath, ['--input-type=module', '-e', imports.join('\n')], options);
}

/** Runs the example in Node, beside model.duo and checkpoint; gives what it printed, which must not be nothing. */
export function runExample(project, example) {
  // It has no types of its own, so it is JavaScript too.
  writeFileSync(join(project, 'example.mjs'), example);
  const printed = execFileSync(process.execPath, ['example.mjs'], {
    cwd: project,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (printed.trim() === '') throw new Error(`the example in ${project} printed nothing`);
  return printed;
}
