// Counts the instructions of the kernels under callgrind, for fixed shapes, and compares them with those recorded in
// native/test/instructions.json: what makes a kernel slower shows without a clock, on any busy machine. Counts depend on
// the compiler, so they are compared only where the recorded one is used. Needs Valgrind, which knows AVX2 and no AVX-512.
//
//   node scripts/count-instructions.mjs            fail when a count is more than 3 % higher than recorded
//   node scripts/count-instructions.mjs --update   record the counts of this compiler
//
// CXX names another compiler than g++.
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compilerVersion, compileTest, NATIVE, run } from './native-compile.mjs';
import { FLAGS } from './native-flags.mjs';

const RECORD = join(NATIVE, 'test', 'instructions.json');
const TOLERANCE = 0.03;
/** Scalar code is slow under Valgrind, and its speed matters to nobody with the other cases. */
const CASES = [
  ['avx2', 'w11-4096x4096'],
  ['avx2', 'w11-1536x576'],
  ['avx2', 'int8-8192x576'],
  ['avx2', 'quantize-4096'],
  ['avx2', 'rotate-576'],
  ['avx2', 'rotate-1536'],
  ['avx2', 'gram-576'],
  ['avx2', 'attention-int8-256x576'],
  ['scalar', 'w11-1536x576'],
  ['scalar', 'quantize-4096'],
];
const update = process.argv.includes('--update');

/** Instructions of one turn for each weight or value: the difference of two runs leaves out all that is done once. */
async function count(program, folder, isa, name) {
  const total = async (turns) => {
    const out = join(folder, `${isa}-${name}-${turns}`);
    const command = ['valgrind', '--tool=callgrind', `--callgrind-out-file=${out}`, program];
    const work = Number(await run(command, [isa, name, String(turns)]));
    const summary = /^(?:summary|totals): (\d+)/m.exec(await readFile(out, 'utf8'));
    return { work, instructions: Number(summary[1]) };
  };
  const [few, many] = [await total(1), await total(3)];
  return (many.instructions - few.instructions) / (2 * few.work);
}

async function main() {
  const compiler = [process.env.CXX ?? 'g++'];
  const version = await compilerVersion(compiler);
  if (!version || !(await compilerVersion(['valgrind'])))
    throw new Error(`needs ${compiler[0]} and valgrind`);
  if (process.arch !== 'x64') throw new Error('the recorded cases are for x64');
  const recorded = existsSync(RECORD) ? JSON.parse(await readFile(RECORD, 'utf8')) : { counts: {} };
  const folder = await mkdtemp(join(tmpdir(), 'duobit-count-'));
  const counts = {};
  try {
    const program = await compileTest({ compiler, flags: FLAGS, processor: 'x64', folder, test: 'count' });
    for (const [isa, name] of CASES) {
      const key = `${isa} ${name}`;
      counts[key] = Number((await count(program, folder, isa, name)).toPrecision(4));
      const before = recorded.counts[key];
      console.log(
        `${key.padEnd(27)} ${counts[key]} instructions each${before ? `, recorded ${before}` : ''}`,
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (update) {
    await writeFile(RECORD, `${JSON.stringify({ compiler: version, counts }, null, 2)}\n`);
    return;
  }
  if (recorded.compiler !== version) {
    console.log(`not compared: recorded with "${recorded.compiler}", compiled with "${version}"`);
    return;
  }
  const worse = Object.keys(counts).filter((key) => !(counts[key] <= recorded.counts[key] * (1 + TOLERANCE)));
  if (worse.length > 0)
    throw new Error(
      `more than ${100 * TOLERANCE} % over the record: ${worse.join(', ')}. If the kernel is faster all the same, or the case ` +
        'is new, record the counts with: node packages/runtime-node/scripts/count-instructions.mjs --update',
    );
}

try {
  await main();
} catch (error) {
  console.error(`count-instructions: ${error.message}`);
  process.exitCode = 1;
}
