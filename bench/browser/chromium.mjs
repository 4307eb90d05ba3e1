// One measurement in one Chromium: a fresh profile, a fresh process, the local page, its answer, and what the processes
// used. Nothing drives the browser: the page asks the server for its job.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readPeakRss } from '../peak-memory.mjs';
import { serveJob } from './server.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
/** No window, no sandbox (which root must do without), nothing that asks the network by itself. */
const CHROMIUM_FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-gpu',
  '--disable-dev-shm-usage',
];
const LIMIT_MS = 600_000;
/** Of the processor times in /proc: USER_HZ, 100 on every Linux that Node has builds for. */
const TICKS_PER_SECOND = 100;

/** The browser to use: {command, version} or {reason}. CHROMIUM names another than those on the PATH. */
export function findChromium() {
  if (process.platform !== 'linux') {
    return { reason: 'measured on Linux only, where /proc says what its processes use' };
  }
  const { CHROMIUM } = process.env;
  for (const command of CHROMIUM ? [CHROMIUM] : NAMES) {
    const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    if (status === 0) return { command, version: stdout.trim() };
  }
  return {
    reason: `no browser found as ${CHROMIUM ?? NAMES.join(', ')}; install one (Debian: apt-get install chromium)`,
  };
}

/** @returns what the page measured, with cpuSeconds of all processes and the peak memory of the largest, the page's */
export async function runInChromium(command, job) {
  const profile = mkdtempSync(path.join(tmpdir(), 'duobit-chromium-'));
  const server = await serveJob(job);
  // A group of its own, so that ending it ends the browser's other processes too.
  const browser = spawn(command, [...CHROMIUM_FLAGS, `--user-data-dir=${profile}`, server.url], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  browser.stderr.on('data', (chunk) => {
    log = (log + chunk).slice(-4000);
  });
  let timer;
  const ended = new Promise((_, reject) => {
    browser.once('error', reject);
    browser.once('exit', (code, signal) =>
      reject(new Error(`the browser ended with ${signal ?? code}\n${log.trim()}`)),
    );
    timer = setTimeout(() => reject(new Error('the page gave no answer in 10 minutes')), LIMIT_MS);
  });
  const abandon = (signal) => {
    process.kill(-browser.pid, 'SIGKILL');
    process.kill(process.pid, signal);
  };
  process.once('SIGINT', abandon);
  process.once('SIGTERM', abandon);
  try {
    const answer = await Promise.race([server.answer, ended]);
    if (answer.error !== undefined) throw new Error(answer.error);
    return { ...answer, ...readUsage(browser.pid) };
  } finally {
    process.off('SIGINT', abandon);
    process.off('SIGTERM', abandon);
    clearTimeout(timer);
    ended.catch(() => {});
    server.close();
    await stop(browser);
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

function stop(browser) {
  if (browser.pid === undefined || browser.exitCode !== null || browser.signalCode !== null) return undefined;
  return new Promise((resolve) => {
    browser.once('exit', resolve);
    process.kill(-browser.pid, 'SIGKILL');
  });
}

/** Processor seconds of a process and its descendants so far, and the peak resident memory of the largest of them. */
function readUsage(root) {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((id) => {
      try {
        return [readProcess(Number(id))];
      } catch {
        return []; // gone meanwhile
      }
    });
  const family = new Set([root]);
  for (let before = 0; before < family.size; ) {
    before = family.size;
    for (const { id, parent } of processes) if (family.has(parent)) family.add(id);
  }
  const members = processes.filter(({ id }) => family.has(id));
  return {
    cpuSeconds: members.reduce((sum, { ticks }) => sum + ticks, 0) / TICKS_PER_SECOND,
    peakRssBytes: Math.max(...members.map(({ peakRssBytes }) => peakRssBytes)),
  };
}

/** See proc(5): the fields of `stat` after the name in parentheses, which may itself hold spaces. */
function readProcess(id) {
  const stat = readFileSync(`/proc/${id}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // Own time, and that of children which have ended.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { id, parent: Number(fields[1]), ticks, peakRssBytes: readPeakRss(id) };
}
