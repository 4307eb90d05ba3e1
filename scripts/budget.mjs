// Budgets that fail the build: file length, direction of imports between packages, declared dependencies,
// import cycles. Run by `npm run check`; see docs/architecture.md for the reasons behind the rules.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const LINES_LISTED = 400;
const LINES_FAILING = 500;

/**
 * What a package's sources may import from the workspace. Tests (and helpers of tests, in folders `test` and
 * `testing`) and demos may also import their own package by name, and use the private testkit.
 */
const ALLOWED = {
  '@duobit/format': [],
  '@duobit/core': ['@duobit/format'],
  '@duobit/grammar': ['@duobit/format', '@duobit/core'],
  '@duobit/runtime-web': ['@duobit/format', '@duobit/core'],
  // @duobit/tfjs is an optional peer that only `backend: 'tfjs'` loads: TensorFlow.js is hundreds of megabytes.
  '@duobit/runtime-node': ['@duobit/format', '@duobit/core', '@duobit/runtime-web', '@duobit/tfjs'],
  '@duobit/tfjs': ['@duobit/format', '@duobit/core'],
  '@duobit/quantizer': ['@duobit/format', '@duobit/core', '@duobit/tfjs'],
  // @duobit/grammar for tests: a program gives it as an option.
  '@duobit/server': ['@duobit/format', '@duobit/core', '@duobit/grammar'],
  '@duobit/testkit': ['@duobit/format', '@duobit/core'],
  duobit: [
    '@duobit/format',
    '@duobit/core',
    '@duobit/tfjs',
    '@duobit/grammar',
    '@duobit/quantizer',
    '@duobit/runtime-node',
    '@duobit/server',
    // For the built chat page, dist/page.
    '@duobit/runtime-web',
  ],
};
/** Packages whose runtime dependencies from npm are fixed: everything else builds on them. */
const FIXED_DEPENDENCIES = { '@duobit/format': ['flatbuffers'] };

const failures = [];
const long = [];

function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return ['generated', 'node_modules', 'dist', 'build'].includes(entry.name) ? [] : listFiles(path);
    }
    return /\.(ts|mts|js|mjs)$/.test(entry.name) ? [path] : [];
  });
}

/** Every module a file names: `import`, `export … from`, `import()` and import types. `typeOnly` ones do not run. */
function readImports(path) {
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, typeOnly) => {
    if (node && ts.isStringLiteralLike(node)) found.push({ name: node.text, typeOnly });
  };
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly === true);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node)) add(node.argument.literal, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** '@scope/name/sub' -> '@scope/name'. */
function packageOf(specifier) {
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0];
}

/** Cycles in a graph of Map<node, Iterable<node>>, each reported once. */
function findCycles(graph) {
  const state = new Map();
  const cycles = [];
  const walk = (node, path) => {
    state.set(node, 'open');
    for (const next of graph.get(node) ?? []) {
      if (state.get(next) === 'open') cycles.push([...path.slice(path.indexOf(next)), next]);
      else if (!state.has(next)) walk(next, [...path, next]);
    }
    state.set(node, 'done');
  };
  for (const node of graph.keys()) if (!state.has(node)) walk(node, [node]);
  return cycles;
}

function countLines(path) {
  const text = readFileSync(path, 'utf8');
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}

const show = (path) => relative(ROOT, path).split(sep).join('/');
const packageGraph = new Map();
const fileGraph = new Map();
let fileCount = 0;

for (const folder of readdirSync(join(ROOT, 'packages'))) {
  const manifestPath = join(ROOT, 'packages', folder, 'package.json');
  if (!existsSync(manifestPath)) continue;
  const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'));
  const allowed = ALLOWED[manifest.name];
  if (!allowed) {
    failures.push(`packages/${folder}: "${manifest.name}" has no rule in scripts/budget.mjs; add one`);
    continue;
  }
  const declared = new Set([
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
    ...Object.keys(manifest.optionalDependencies ?? {}),
  ]);
  packageGraph.set(manifest.name, new Set([...declared].filter((name) => name in ALLOWED)));
  const fixed = FIXED_DEPENDENCIES[manifest.name];
  if (fixed && [...declared].sort().join() !== [...fixed].sort().join()) {
    failures.push(`${manifest.name} may depend on [${fixed}] only; package.json has [${[...declared]}]`);
  }
  if (!manifest.private && declared.has('@duobit/testkit')) {
    failures.push(`${manifest.name} depends on the private @duobit/testkit`);
  }

  const base = join(ROOT, 'packages', folder);
  const assembly = listFiles(join(base, 'assembly'));
  for (const path of assembly) checkLength(path);
  for (const path of ['src', 'test', 'demo'].flatMap((name) => listFiles(join(base, name)))) {
    fileCount += 1;
    checkLength(path);
    const isTest = /\.test\.ts$|\/(test|testing|demo)\//.test(show(path));
    const edges = new Set();
    for (const { name, typeOnly } of readImports(path)) {
      if (name.startsWith('node:')) continue;
      if (name.startsWith('.')) {
        const target = resolve(dirname(path), name);
        if (!target.startsWith(base + sep))
          failures.push(`${show(path)} reaches out of its package: ${name}`);
        if (!typeOnly) edges.add(target);
        continue;
      }
      const dependency = packageOf(name);
      if (dependency in ALLOWED) {
        const ok =
          allowed.includes(dependency) || (isTest && [manifest.name, '@duobit/testkit'].includes(dependency));
        if (!ok) failures.push(`${show(path)} imports ${dependency}, which ${manifest.name} may not`);
      }
      if (!isTest && !declared.has(dependency)) {
        failures.push(`${show(path)} imports ${name}, which ${manifest.name}'s package.json does not list`);
      }
    }
    fileGraph.set(path, edges);
  }
  fileCount += assembly.length;
}
for (const folder of ['scripts', 'bench']) {
  for (const path of listFiles(join(ROOT, folder))) checkLength(path);
}

function checkLength(path) {
  const lines = countLines(path);
  if (lines > LINES_LISTED) long.push(`${show(path)}: ${lines} lines`);
  if (lines > LINES_FAILING) failures.push(`${show(path)} has ${lines} lines; at most ${LINES_FAILING}`);
}

for (const cycle of findCycles(packageGraph))
  failures.push(`packages depend in a circle: ${cycle.join(' -> ')}`);
for (const cycle of findCycles(fileGraph))
  failures.push(`files import in a circle: ${cycle.map(show).join(' -> ')}`);

for (const line of long) console.log(`over ${LINES_LISTED} lines: ${line}`);
for (const line of failures) console.error(`budget: ${line}`);
console.log(
  `budget: ${fileCount} source files, ${long.length} over ${LINES_LISTED} lines, ${failures.length} failures`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
