#!/usr/bin/env node
// Compiles the native addon with the C++ compiler found, into native/build/duobit.node. Nothing is downloaded: the headers
// of Node-API come from npm. A build is repeated only when sources, headers, flags or compiler have changed.
// Also the command duobit-build-native of the published package.
//
//   node scripts/build-native.mjs               fail when it cannot be built
//   node scripts/build-native.mjs --if-possible say so in one line, and succeed
//
// CXX names another compiler.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compile, compilerVersion, listSources, NATIVE, run } from './native-compile.mjs';
import { FLAGS, headerFlags, machineFlags } from './native-flags.mjs';

const BUILD = join(NATIVE, 'build');
const TARGET = join(BUILD, 'duobit.node');
const STAMP = join(BUILD, 'stamp');
const optional = process.argv.includes('--if-possible');
const say = (line) => console.log(`native addon: ${line}`);

const LINK =
  process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];

async function findCompiler() {
  const names = process.env.CXX ? [process.env.CXX] : ['g++', 'clang++', 'c++'];
  for (const name of names) {
    const version = await compilerVersion([name]);
    if (version) return { name, version };
  }
  throw new Error(`no C++ compiler (${names.join(', ')})`);
}

async function build() {
  if (process.platform === 'win32')
    throw new Error('on Windows only scripts/build-prebuilt.mjs builds it, see docs/native.md');
  const compiler = await findCompiler();
  const flags = [...FLAGS, ...headerFlags()];
  const files = await listSources();
  const hash = createHash('sha256').update(
    JSON.stringify([
      compiler,
      flags,
      LINK,
      files.map((name) => machineFlags(name)),
      process.platform,
      process.arch,
    ]),
  );
  for (const name of files) hash.update(`\n${name}\n`).update(await readFile(join(NATIVE, name)));
  const stamp = hash.digest('hex');
  if (existsSync(TARGET) && existsSync(STAMP) && (await readFile(STAMP, 'utf8')) === stamp) {
    say('up to date');
    return;
  }
  // A folder of its own, and a rename at the end: two builds at once, or one that is stopped, do no harm.
  const folder = join(BUILD, `work-${process.pid}`);
  try {
    const objects = await compile({ compiler: [compiler.name], flags, processor: process.arch, folder });
    await run([compiler.name], [...LINK, ...objects, '-o', join(folder, 'duobit.node')]);
    await rm(STAMP, { force: true });
    await rename(join(folder, 'duobit.node'), TARGET);
    await writeFile(STAMP, stamp);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  say(`built with ${compiler.version}`);
}

try {
  await build();
} catch (error) {
  if (optional) {
    say(`not built, the WebAssembly backend serves instead: ${error.message.split('\n')[0]}`);
  } else {
    console.error(`native addon: ${error.message}`);
    process.exitCode = 1;
  }
}
