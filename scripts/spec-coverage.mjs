// Keeps docs/format.md, the tests and the error codes together: every requirement of the page ("… [PRE-3]") is named by a
// test title, or by a file of the corpus in its twin's "covers"; whatever a test names is a requirement of the page; every
// error code of the page is in docs/errors.md and expected by a file of the corpus or a test. Prints each mismatch and fails
// on any. `--list` prints who covers what.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const PAGE = 'docs/format.md';
const CORPUS = ['good', 'malformed', 'invalid', 'future'];
/** PRE-3, ENC-W11-2. */
const ID = '[A-Z][A-Z0-9]*(?:-[A-Z][A-Z0-9]*)*-\\d+';
const BRACKETED = new RegExp(`\\[(${ID})\\]`, 'g');

function listFiles(folder, accept) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return ['node_modules', 'dist', 'generated', '.venv'].includes(entry.name)
        ? []
        : listFiles(path, accept);
    return accept(entry.name) ? [path] : [];
  });
}

const name = (path) => relative(ROOT, path).split(sep).join('/');
const page = readFileSync(join(ROOT, PAGE), 'utf8');
const failures = [];
const required = new Set();
for (const [, id] of page.matchAll(BRACKETED)) {
  if (required.has(id))
    failures.push(`${id} stands twice in ${PAGE}; write further mentions without brackets`);
  required.add(id);
}
// Mentions in the text, "(STR-2)", lead somewhere.
const areas = new Set([...required].map((id) => id.slice(0, id.lastIndexOf('-'))));
for (const [, id] of page.matchAll(new RegExp(`(?<![\\w\\[-])(${ID})(?![\\w\\]])`, 'g'))) {
  if (areas.has(id.slice(0, id.lastIndexOf('-'))) && !required.has(id))
    failures.push(`${PAGE} mentions ${id}, which is not there`);
}

const covers = new Map();
const note = (id, where) => covers.set(id, (covers.get(id) ?? new Set()).add(where));
const expected = new Set();
const CODE = /\b[A-Z]+(?:_[A-Z]+)+\b/g;
const tests = [
  ...listFiles(join(ROOT, 'packages'), (file) => file.endsWith('.test.ts')),
  ...listFiles(join(ROOT, 'conformance'), (file) => /^test_.*\.py$/.test(file)),
];
for (const path of tests) {
  const text = readFileSync(path, 'utf8');
  for (const [, id] of text.matchAll(BRACKETED)) note(id, name(path));
  for (const [code] of text.matchAll(CODE)) expected.add(code);
}
for (const folder of CORPUS) {
  for (const path of listFiles(join(ROOT, 'fixtures', folder), (file) => file.endsWith('.json'))) {
    const { covers: ids, codes = [] } = JSON.parse(readFileSync(path, 'utf8'));
    for (const code of codes) expected.add(code);
    if (!Array.isArray(ids) || ids.length === 0) failures.push(`${name(path)} covers nothing`);
    else for (const id of ids) note(id, name(path));
  }
}

const errors = new Set(readFileSync(join(ROOT, 'docs/errors.md'), 'utf8').match(CODE));
const codes = new Set(Array.from(page.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g), ([, code]) => code));
codes.delete('SUCH_WORDS');
for (const code of codes) {
  if (!errors.has(code)) failures.push(`${code} is not in docs/errors.md`);
  if (!expected.has(code)) failures.push(`no file of the corpus and no test expects ${code}`);
}

for (const id of required) if (!covers.has(id)) failures.push(`no test covers ${id}`);
for (const [id, places] of covers) {
  if (!required.has(id)) failures.push(`${[...places].join(', ')} names ${id}, which ${PAGE} does not have`);
}
if (process.argv.includes('--list')) {
  for (const id of required) console.log(`${id.padEnd(12)} ${[...(covers.get(id) ?? [])].join(', ')}`);
}
for (const failure of failures) console.error(`specification: ${failure}`);
console.log(
  `specification: ${required.size} requirements, ${covers.size} named by tests, ${codes.size} codes, ${failures.length} failures`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
