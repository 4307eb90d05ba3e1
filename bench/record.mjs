// The record of a benchmark run: what was measured, on what, with what, and how busy the machine was with other things.
// Tables and plots are made from records and from nothing else.
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const RECORD_SCHEMA = 1;

/** Processor cores that other processes kept busy, above which figures are no comparison of engines. */
export const QUIET_CORES = 0.1;

function describeMachine() {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown CPU',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: process.platform,
    arch: process.arch,
    node: process.version,
  };
}

/** Commit of the working tree, and whether tracked files differ from it. */
function describeCommit() {
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const git = (...args) => execFileSync('git', args, { cwd, encoding: 'utf8' }).trim();
  try {
    return { commit: git('rev-parse', 'HEAD'), modified: git('status', '--porcelain', '-uno') !== '' };
  } catch {
    return { commit: null, modified: null };
  }
}

function readLoad() {
  return loadavg().map((value) => Math.round(100 * value) / 100);
}

/** Notes when and where a run begins; the function it gives makes the head of the record when the run has ended. */
export function describeRun() {
  const started = new Date().toISOString();
  const start = readLoad();
  const commit = describeCommit();
  return (kind) => ({
    schema: RECORD_SCHEMA,
    kind,
    started,
    ended: new Date().toISOString(),
    ...commit,
    machine: describeMachine(),
    load: { start, end: readLoad() },
  });
}

/** Measures the processor time that the whole machine spends between its making and `stop`, in seconds. */
export function watchProcessor() {
  const busy = () =>
    cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;
  const before = busy();
  const begun = performance.now();
  return {
    stop: () => ({ busySeconds: busy() - before, wallSeconds: (performance.now() - begun) / 1000 }),
  };
}

/** Median, least and greatest of at least one value. */
export function summarize(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return {
    median: (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2,
    minimum: sorted[0],
    maximum: sorted.at(-1),
  };
}

/**
 * One row for each file, engine and thread count, with medians and spreads over the rounds, in the record's order.
 * Speeds are tokens a second.
 */
export function summarizeRuns(record) {
  const groups = new Map();
  for (const run of record.runs) {
    const key = `${run.subject} ${run.threads}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(run);
  }
  return [...groups.values()].map((runs) => {
    const [{ subject, threads, threadsUsed }] = runs;
    const found = record.subjects.find(({ id }) => id === subject);
    if (found === undefined) throw new Error(`the record has runs of ${subject}, which it does not describe`);
    const of = (pick) => summarize(runs.map(pick));
    return {
      subject: found,
      threads,
      threadsUsed,
      decode: of((run) => run.decode),
      // Records from before it was measured have none.
      decodePerCpuSecond: runs.every((run) => run.decodePerCpuSecond > 0)
        ? of((run) => run.decodePerCpuSecond)
        : null,
      prefill: Object.fromEntries(
        record.options.prompts.map((length) => [length, of((run) => run.prefill[length])]),
      ),
      loadSeconds: of((run) => run.loadSeconds),
      peakRssBytes: of((run) => run.peakRssBytes),
      coresElsewhere: of((run) => run.coresElsewhere),
    };
  });
}

/** Cores that others kept busy: median over all runs, and whether that lets the figures be compared. */
export function judgeQuiet(record) {
  const { median, maximum } = summarize(record.runs.map((run) => run.coresElsewhere));
  return { median, maximum, isQuiet: median <= QUIET_CORES };
}
