// Keeps docs/errors.md true: every error code in packages/*/src has a row there, every row has a code in the
// sources. Codes are the UPPER_SNAKE string literals of non-test sources, so that helpers and problem lists
// (`{ code: 'X_Y', … }`) count as well as `new DuobitError('X_Y', …)`.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const CODE = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/;
/** Literals of the same shape that are not error codes: GGUF block types, environment variables, Node's own. */
const OTHER = /^(I?Q\d|T?Q\d|BF16|F16|F32|ERR_|HPE_|DUOBIT_|HF_|F8_|F64|I\d|U\d)/;
/** Codes of one word. */
const SINGLE = new Set(['INTERNAL', 'ABORTED', 'USAGE']);

function listSources(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return ['generated', 'testing'].includes(entry.name) ? [] : listSources(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') ? [path] : [];
  });
}

/** First word-like argument of `new DuobitError(…)`, or null when the code is computed. */
function errorCode(node) {
  if (!ts.isNewExpression(node) || node.expression.getText() !== 'DuobitError') return undefined;
  const first = node.arguments?.[0];
  return first && ts.isStringLiteralLike(first) ? first.text : null;
}

const used = new Map();
function note(code, path) {
  const files = used.get(code) ?? new Set();
  files.add(relative(ROOT, path));
  used.set(code, files);
}

for (const name of readdirSync(join(ROOT, 'packages'))) {
  for (const path of listSources(join(ROOT, 'packages', name, 'src'))) {
    const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
    const visit = (node) => {
      const code = errorCode(node);
      if (code) note(code, path);
      if (ts.isStringLiteralLike(node)) {
        if (SINGLE.has(node.text) || (CODE.test(node.text) && !OTHER.test(node.text))) note(node.text, path);
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
}

const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
const listed = [...page.matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map((match) => match[1]);
const failures = [];
const seen = new Set();
for (const code of listed) {
  if (seen.has(code)) failures.push(`${code} has two rows`);
  seen.add(code);
  if (!used.has(code)) failures.push(`${code} is in docs/errors.md but in no source file`);
}
for (const [code, files] of [...used].sort()) {
  if (!seen.has(code)) failures.push(`${code} (${[...files].join(', ')}) has no row in docs/errors.md`);
}
for (const row of page.split('\n').filter((line) => line.startsWith('| `'))) {
  const cells = row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim());
  if (cells.length !== 3 || cells.some((cell) => cell === '')) {
    failures.push(`row needs code, meaning and remedy: ${row}`);
  }
}

for (const failure of failures) console.error(`errors: ${failure}`);
console.log(
  `errors: ${used.size} codes in the sources, ${seen.size} in docs/errors.md, ${failures.length} failures`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
