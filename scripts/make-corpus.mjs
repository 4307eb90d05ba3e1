// Makes the conformance corpus, fixtures/{good,malformed,invalid,future}, and the pages docs/format/*.md, which show
// the schema and a file of the corpus. `node scripts/make-corpus.mjs` writes; `--check` compares and fails on any difference. The same bytes
// come out each time, on every machine. It has a writer of its own; the library is checked against its files.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { listBad } from './corpus/bad.mjs';
import { renderDump } from './corpus/dump.mjs';
import { listGood } from './corpus/good.mjs';
import { sha256, toHex, toJson } from './corpus/header.mjs';
import { writeModel } from './corpus/models.mjs';
import { decodeValues } from './corpus/planes.mjs';
import { ROOT, SCHEMA } from './corpus/schema.mjs';
import { renderSchema } from './corpus/schema-tables.mjs';

const FOLDERS = ['good', 'malformed', 'invalid', 'future'];

/** Decoded values of every tensor of a known encoding. */
function describeValues({ tree, segments }) {
  const values = {};
  for (const { planes, shape, ...tensor } of tree.tensors) {
    if (tensor.encoding === 'unspecified' || !(tensor.encoding in SCHEMA.enums.EncodingId)) continue;
    const bytes = Object.fromEntries(
      planes.map(({ role, segment, offset, length }) => [
        role,
        segments[segment].slice(Number(offset), Number(offset + length)),
      ]),
    );
    const decoded = decodeValues({ ...tensor, shape: shape.map(Number) }, bytes);
    const little = new DataView(new ArrayBuffer(4 * decoded.length));
    for (const [i, value] of decoded.entries()) little.setFloat32(4 * i, value, true);
    values[tensor.name] = {
      sha256: toHex(sha256(new Uint8Array(little.buffer))),
      first: Array.from(decoded.subarray(0, 8)),
    };
  }
  return values;
}

function makeFiles() {
  const made = new Map();
  const add = (folder, name, files, twin) => {
    for (const [file, bytes] of files) made.set(`fixtures/${folder}/${file}`, bytes);
    const path = `fixtures/${folder}/${name}.json`;
    if (made.has(path)) throw new Error(`${path} is made twice`);
    made.set(path, new TextEncoder().encode(`${JSON.stringify(twin, null, 1)}\n`));
  };
  for (const { folder, name, covers, model, canonical } of listGood()) {
    const files = writeModel(model, name);
    const header = files.get(`${name}.duo`);
    add(folder, name, files, {
      covers: covers.split(' '),
      header_sha256: toHex(header.subarray(56, 88)),
      canonical,
      data_files: model.dataFiles,
      manifest: toJson(header, model),
      values: describeValues(model),
    });
  }
  for (const { folder, name, covers, code, codes, stage, files } of listBad()) {
    const data_files = [...files.keys()].slice(1);
    const all = [...new Set([code, ...(codes ?? [])])].sort();
    add(folder, name, files, { covers: covers.split(' '), code, codes: all, stage, data_files });
  }
  return made;
}

function makeAll() {
  const made = makeFiles();
  const pages = {
    'docs/format/schema.md': renderSchema(SCHEMA),
    'docs/format/dump.md': renderDump(made.get('fixtures/good/minimal.duo')),
  };
  for (const [path, text] of Object.entries(pages)) made.set(path, new TextEncoder().encode(text));
  return made;
}

const check = process.argv.includes('--check');
const made = makeAll();
const differences = [];
for (const [path, bytes] of made) {
  const full = join(ROOT, path);
  if (existsSync(full) && readFileSync(full).equals(bytes)) continue;
  differences.push(`${path} ${existsSync(full) ? 'differs' : 'is missing'}`);
  if (check) continue;
  mkdirSync(join(full, '..'), { recursive: true });
  writeFileSync(full, bytes);
}
for (const folder of FOLDERS) {
  const full = join(ROOT, 'fixtures', folder);
  for (const file of existsSync(full) ? readdirSync(full) : []) {
    const path = `fixtures/${folder}/${file}`;
    if (made.has(path)) continue;
    differences.push(`${path} is stale`);
    if (!check) rmSync(join(ROOT, path));
  }
}
for (const line of differences) console.log(`corpus: ${line}`);
const bytes = [...made].reduce(
  (sum, [path, { length }]) => sum + (path.startsWith('fixtures') ? length : 0),
  0,
);
console.log(`corpus: ${made.size} files, ${bytes} bytes, ${differences.length} differences`);
if (check && differences.length > 0) {
  console.error('the corpus is out of date: run `node scripts/make-corpus.mjs` and commit the result');
  process.exitCode = 1;
}
