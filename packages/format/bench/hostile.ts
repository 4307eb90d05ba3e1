// What refusing each hostile header costs: time of the call that refuses it, and how far the process's peak memory
// rises over what it was after opening a good file. One process a measurement. Needs Linux.
//   node out/bench/hostile.mjs          all, with the worst of each
//   node out/bench/hostile.mjs FILE     one file; prints a line of JSON
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createMemorySource, DuobitError, openContainer, validateContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { HOSTILE_HEADERS } from '../test/hostile-headers.ts';
import { writeSample } from '../test/sample.ts';

const MIB = 2 ** 20;
const REPEATS = 3;
const FOLDER = 'out/bench/hostile';

interface Measurement {
  readonly code: string;
  readonly openMs: number;
  /** Processor time of all threads: what `openMs` would be at most on an idle machine. */
  readonly openCpuMs: number;
  readonly openMib: number;
  readonly validateMs: number;
}

/** Peak resident memory since the last reset, in MiB: Linux only, as other systems do not forget a peak. */
function readPeak(): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(line?.[1]) / 1024;
}

function resetPeak(): void {
  writeFileSync('/proc/self/clear_refs', '5');
}

async function openCode(path: string): Promise<string> {
  const source = await createFileSource(path);
  try {
    await openContainer(source);
    return 'opened';
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    return error.code;
  } finally {
    await source.close();
  }
}

async function measure(path: string): Promise<Measurement> {
  // Compiled code, and the memory of a process that has read a model before.
  const { bytes } = await writeSample();
  for (let i = 0; i < 20; i++) await openContainer(createMemorySource(bytes));
  globalThis.gc?.();
  resetPeak();
  const before = readPeak();
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  const code = await openCode(path);
  const openMs = performance.now() - started;
  const cpu = process.cpuUsage(cpuBefore);
  const openCpuMs = (cpu.user + cpu.system) / 1000;
  const openMib = readPeak() - before;
  const source = await createFileSource(path);
  const startedAgain = performance.now();
  await validateContainer(source, { deep: false });
  const validateMs = performance.now() - startedAgain;
  await source.close();
  return { code, openMs, openCpuMs, openMib, validateMs };
}

async function measureAll(script: string): Promise<void> {
  const sample = await writeSample();
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  console.log(`Node ${process.version}, ${cpus()[0]?.model}; median of ${REPEATS} processes`);
  console.log('open ms   cpu ms  MiB more  validate ms  header MiB  code and header');
  const worst = { openMs: 0, openCpuMs: 0, openMib: 0 };
  for (const [i, header] of HOSTILE_HEADERS.entries()) {
    const path = join(FOLDER, `${i}.duo`);
    const bytes = await header.make(sample);
    writeFileSync(path, bytes);
    const runs = Array.from({ length: REPEATS }, (): Measurement => {
      return JSON.parse(execFileSync(process.execPath, ['--expose-gc', script, path], { encoding: 'utf8' }));
    });
    const median = (key: Exclude<keyof Measurement, 'code'>) =>
      runs.map((run) => run[key]).sort((a, b) => a - b)[Math.floor(REPEATS / 2)]!;
    const [openMs, openCpuMs, openMib] = [median('openMs'), median('openCpuMs'), median('openMib')];
    worst.openMs = Math.max(worst.openMs, openMs);
    worst.openCpuMs = Math.max(worst.openCpuMs, openCpuMs);
    worst.openMib = Math.max(worst.openMib, openMib);
    const size = new DataView(bytes.buffer).getUint32(20, true) / MIB;
    const figures = [
      openMs.toFixed(1).padStart(7),
      openCpuMs.toFixed(1).padStart(8),
      openMib.toFixed(1).padStart(9),
    ];
    const more = [median('validateMs').toFixed(1).padStart(12), size.toFixed(2).padStart(11)];
    const wrong = runs.some(({ code }) => code !== header.code) ? `  GAVE ${runs[0]!.code}` : '';
    console.log(`${[...figures, ...more].join(' ')}  ${header.code}: ${header.name}${wrong}`);
    if (wrong) process.exitCode = 1;
    rmSync(path);
  }
  console.log(
    `worst: ${worst.openMs.toFixed(1)} ms, ${worst.openCpuMs.toFixed(1)} ms of processor time, ${worst.openMib.toFixed(1)} MiB more`,
  );
}

const [script, path] = process.argv.slice(1);
if (path) console.log(JSON.stringify(await measure(path)));
else await measureAll(script!);
