// Table and plot from a small record, and the published page from the published record.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { formatBrowserPage } from './browser-page.mjs';
import { drawPlot } from './plot.mjs';
import { judgeQuiet, summarize, summarizeRuns } from './record.mjs';
import { formatPage } from './table.mjs';

const RESULTS = fileURLToPath(new URL('../docs/results/', import.meta.url));

const subject = (id, engine, short, fileBytes, perplexity) => ({
  id,
  engine,
  short,
  label: engine === 'duobit' ? `**Duobit ${short}**` : `llama.cpp ${short}`,
  file: `${id}.bin`,
  fileBytes,
  bitsPerWeight: 4,
  linearBitsPerWeight: 2.5,
  types: { w11: 3, int: 1 },
  perplexity,
});

const run = (id, round, decode, coresElsewhere = 0.02) => ({
  subject: id,
  threads: 2,
  threadsUsed: id === 'ours' ? 1 : 2,
  round,
  decode,
  prefill: { 128: 10 * decode },
  loadSeconds: 0.5,
  peakRssBytes: 100e6,
  cpuSeconds: 1,
  wallSeconds: 1,
  coresElsewhere,
});

const inChromium = (id) => `chromium-${id}`;

/** What `browser` of a record holds, with the subjects and runs of one from Node. */
const makeBrowser = ({ subjects, runs }) => ({
  version: 'Chromium 1',
  rounds: 3,
  prompts: [128],
  decode: 16,
  subjects: subjects.map((item) => ({ ...item, id: inChromium(item.id), label: `${item.label} there` })),
  runs: runs.map((item) => ({ ...item, subject: inChromium(item.subject) })),
});

const makeRecord = (coresElsewhere) => ({
  schema: 1,
  kind: 'cpu-peers',
  started: '2026-01-01T00:00:00.000Z',
  ended: '2026-01-01T00:10:00.000Z',
  commit: 'abc',
  modified: false,
  machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, platform: 'linux', arch: 'x64', node: 'v20' },
  load: { start: [0.1, 0.1, 0.1], end: [1, 1, 1] },
  options: { prompts: [128], decode: 16, repeats: 3, threads: [2] },
  model: 'm.gguf',
  text: { name: 't.txt', sha256: '0123456789abcdef0', windows: 2, context: 512 },
  calibration: { name: 'c.txt', sha256: 'fedcba98765432100', windows: 4 },
  peers: { 'llama.cpp': { koffi: '1' } },
  subjects: [
    subject('ours', 'duobit', 'W(1+1)A4 wasm', 65e6, 123456),
    subject('q4', 'llama.cpp', 'Q4_0', 90e6, 31.5),
    subject('q2', 'llama.cpp', 'Q2_0 & <pure>', 40e6, undefined),
  ],
  runs: [1, 2, 3].flatMap((round) => [
    run('ours', round, 300 + round, coresElsewhere),
    run('q4', round, [90, 110, 100][round - 1], coresElsewhere),
    run('q2', round, 20, coresElsewhere),
  ]),
  matvec: [{ kernel: 'k', shape: '576 x 576', gweights: { median: 8, minimum: 7, maximum: 9 } }],
  skipped: [{ name: 'wllama', reason: 'later' }],
});

describe('summaries', () => {
  it('give median, least and greatest', () => {
    expect(summarize([3, 1, 2])).toEqual({ median: 2, minimum: 1, maximum: 3 });
    expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, minimum: 1, maximum: 4 });
  });

  it('take the rounds of a file together', () => {
    const [ours, q4] = summarizeRuns(makeRecord());
    expect(ours).toMatchObject({
      threads: 2,
      threadsUsed: 1,
      decode: { median: 302, minimum: 301, maximum: 303 },
    });
    expect(q4.decode).toEqual({ median: 100, minimum: 90, maximum: 110 });
    expect(q4.prefill[128].median).toBe(1000);
  });

  it('refuse a record that does not describe what it ran', () => {
    const record = makeRecord();
    expect(() => summarizeRuns({ ...record, subjects: record.subjects.slice(1) })).toThrow(/runs of ours/);
  });
});

describe('the page', () => {
  it('shows every file with its figures, and what was skipped', () => {
    const page = formatPage(makeRecord());
    expect(page).toContain('| llama.cpp Q4_0 | 90.0 | 100 (90.0–110) | 1000 (900–1100) | 0.50 | 100.0 |');
    expect(page).toContain('**Duobit W(1+1)A4 wasm** (uses 1 of 2 threads)');
    expect(page).toContain('| 1.23e+5 | 75 % w11, 25 % int |');
    expect(page).toContain('| not measured |');
    expect(page).toContain('- wllama: later');
    expect(page).toContain('decode 3.02x llama.cpp Q4_0');
  });

  it('gives the rate per CPU second at one thread, where the record has it', () => {
    const record = makeRecord();
    const timed = {
      ...record,
      runs: record.runs.map((item) => ({ ...item, threads: 1, decodePerCpuSecond: 7 })),
    };
    expect(formatPage(timed)).toContain('| decode, per CPU second |');
    expect(formatPage(timed)).toContain('| 100 (90.0–110) | 7.00 (7.00–7.00) |');
    expect(formatPage(record)).not.toContain('per CPU second');
  });

  it('compares peak memory with the fastest decoder, with and without what Node itself takes', () => {
    const record = makeRecord();
    const runs = record.runs.map((item) =>
      item.subject === 'q4' ? { ...item, peakRssBytes: 250e6 } : { ...item, peakRssBytes: 150e6 },
    );
    expect(formatPage({ ...record, runs })).toContain('peak memory 0.60x llama.cpp Q4_0');
    const page = formatPage({ ...record, runs, nodeRssBytes: 50e6 });
    expect(page).toContain(
      "peak memory 0.60x llama.cpp Q4_0, the fastest to decode (0.50x beyond Node's own)",
    );
    expect(page).toContain('Peak RSS of Node alone, in every figure: 50.0 MB');
  });

  it('gives Chromium tables and ratios of its own', () => {
    const record = makeRecord();
    const browser = makeBrowser(record);
    const page = formatPage({ ...record, browser });
    expect(page).toContain('## In Chromium, 2 threads');
    expect(page).toContain('decode 3.02x llama.cpp Q4_0 there');
    expect(formatPage({ ...record, browser: null })).not.toContain('In Chromium');
    const busy = makeBrowser(makeRecord(1));
    expect(formatPage({ ...record, browser: busy })).not.toContain('Q4_0 there, the fastest');
  });

  it('can be of Chromium alone, and then ranks no engine by the threads during which the machine was busy', () => {
    const record = { ...makeRecord(), runs: [], matvec: [] };
    const page = formatBrowserPage({ ...record, browser: makeBrowser(makeRecord()) });
    expect(page).toContain(
      '| llama.cpp Q4_0 there | 90.0 | 100 (90.0–110) | 1000 (900–1100) | 0.50 | 100.0 |',
    );
    expect(page).toContain('decode 3.02x llama.cpp Q4_0 there');
    expect(page).toContain('| 75 % w11, 25 % int |');
    expect(page).toContain('- wllama: later');
    const busyRuns = makeBrowser(makeRecord(0.8)).runs.map((item) => ({ ...item, threads: 1 }));
    const browser = makeBrowser(makeRecord());
    const [quiet, busy] = formatBrowserPage({
      ...record,
      browser: { ...browser, runs: [...browser.runs, ...busyRuns] },
    }).split('## In Chromium, 1 thread');
    expect(quiet).toContain('3.02x');
    expect(quiet).not.toContain('was busy');
    expect(busy).toContain('median 0.80, at most 0.80. The machine was busy');
    expect(busy).not.toContain('3.02x');
  });

  it('ranks no engine when the machine was busy', () => {
    const record = makeRecord(0.8);
    expect(judgeQuiet(record)).toEqual({ median: 0.8, maximum: 0.8, isQuiet: false });
    const page = formatPage(record);
    expect(page).toContain('The machine was busy');
    expect(page).not.toContain('3.02x');
    expect(drawPlot(record)).toContain('the machine was busy');
  });
});

describe('the plot', () => {
  it('marks each file once a panel, without one that has no perplexity in the second', () => {
    const svg = drawPlot(makeRecord());
    expect(svg.match(/<circle /g)).toHaveLength(3);
    expect(svg.match(/<rect [^>]*width="10"/g)).toHaveLength(2);
    expect(svg).toContain('Q2_0 &amp; &lt;pure&gt;');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('docs/results', () => {
  const newest = (kind) =>
    readdirSync(`${RESULTS}records`)
      .filter((name) => name.startsWith(kind))
      .sort()
      .at(-1);

  it('has the page of its newest record of browsers, and none without one', () => {
    const name = newest('browser-peers-');
    expect(existsSync(`${RESULTS}browser-peers.md`)).toBe(name !== undefined);
    if (name === undefined) return;
    const record = JSON.parse(readFileSync(`${RESULTS}records/${name}`, 'utf8'));
    const page = formatBrowserPage(record, { source: `records/${name}` });
    expect(readFileSync(`${RESULTS}browser-peers.md`, 'utf8')).toBe(page);
  });

  it('has the page and the plot of its newest record, and none without one', () => {
    const name = newest('cpu-peers-');
    expect(existsSync(`${RESULTS}cpu-peers.md`)).toBe(name !== undefined);
    expect(existsSync(`${RESULTS}cpu-peers.svg`)).toBe(name !== undefined);
    if (name === undefined) return;
    const record = JSON.parse(readFileSync(`${RESULTS}records/${name}`, 'utf8'));
    const page = formatPage(record, { source: `records/${name}`, plot: 'cpu-peers.svg' });
    expect(readFileSync(`${RESULTS}cpu-peers.md`, 'utf8')).toBe(page);
    expect(readFileSync(`${RESULTS}cpu-peers.svg`, 'utf8')).toBe(drawPlot(record));
  });
});
