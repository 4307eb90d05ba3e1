// `npm run check:newcomer`: a newcomer's clock. Clones the repository into an empty folder, runs the commands that the README shows for
// SmolLM2, as they stand there, and prints the seconds of each up to the first piece of text. What npm has in its cache and
// what scripts/fetch-smollm2.mjs got before counts as a warm network cache; the rest is downloaded. Fails when a command does, or
// writes nothing; how fast it was is for the reader.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const HEADING = '## SmolLM2 in three commands';
const FETCHED = join('.cache', 'smollm2');
const BAR_SECONDS = 180;

/** The first block of commands below the heading. */
function readCommands(readme) {
  const [, section] = readme.split(`${HEADING}\n`);
  const commands = /^(?: {4}.+\n)+/m
    .exec(section ?? '')?.[0]
    .trimEnd()
    .split('\n');
  if (commands === undefined) throw new Error(`README.md has no commands below "${HEADING}"`);
  return commands.map((line) => line.trim());
}

/** Runs a command in a shell. @returns seconds to its end and to what it wrote first, and those of processors */
function time(command, cwd) {
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  // `times` tells of what the shell waited for, in its second line.
  const script = `${command}\ncode=$?\ntimes >&3\nexit $code`;
  const child = spawn('bash', ['-c', script], { cwd, stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
  let written = '';
  let first = null;
  let times = '';
  child.stdout.on('data', (text) => {
    process.stdout.write(text);
    written += text;
    if (written.trim() !== '') first ??= seconds();
  });
  child.stdio[3].on('data', (text) => {
    times += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`${command}: ended with ${code}`));
      const [, ofChildren] = times.split('\n');
      const processor = [...ofChildren.matchAll(/(\d+)m([\d.]+)s/g)]
        .map(([, minutes, rest]) => 60 * minutes + Number(rest))
        .reduce((sum, value) => sum + value, 0);
      resolve({ command, first, whole: seconds(), processor });
    });
  });
}

const work = mkdtempSync(join(tmpdir(), 'duobit-newcomer-'));
try {
  const clone = join(work, 'duobit');
  execFileSync('git', ['clone', '--quiet', '--no-hardlinks', ROOT, clone]);
  const warm = existsSync(join(ROOT, FETCHED));
  if (warm) cpSync(join(ROOT, FETCHED), join(clone, FETCHED), { recursive: true });
  const commands = readCommands(readFileSync(join(clone, 'README.md'), 'utf8'));
  const timed = [];
  for (const command of commands) {
    console.log(`$ ${command}`);
    timed.push(await time(command, clone));
  }
  const last = timed.at(-1);
  if (last.first === null) throw new Error(`${last.command}: wrote nothing`);
  console.log(
    `\nwall     processor   (${cpus()[0].model}, ${cpus().length} cores, SmolLM2 ${warm ? 'at hand' : 'downloaded'})`,
  );
  for (const { command, whole, processor } of timed)
    console.log(`${whole.toFixed(0).padStart(4)} s    ${processor.toFixed(0).padStart(4)} s    ${command}`);
  const total = timed.reduce((sum, { whole }) => sum + whole, 0) - last.whole + last.first;
  console.log(
    `first text after ${total.toFixed(0)} s; the bar is ${BAR_SECONDS} s and ${commands.length} of 3 commands`,
  );
} catch (error) {
  console.error(`newcomer: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
