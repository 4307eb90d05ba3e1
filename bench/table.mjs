// Makes docs/results/cpu-peers.md (or any other page) from a record:
//   node bench/table.mjs docs/results/records/<record>.json > page.md
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { judgeQuiet, QUIET_CORES, summarizeRuns } from './record.mjs';

export const rate = (value) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
export const spread = ({ median, minimum, maximum }) => `${rate(median)} (${rate(minimum)}–${rate(maximum)})`;
export const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const row = (cells) => `| ${cells.join(' | ')} |`;
export const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');

/** '81 % Q4_0, 21 % Q8_0': what the matrices of a file are stored as, by weights. */
function formatTypes(types) {
  const total = Object.values(types).reduce((sum, weights) => sum + weights, 0);
  return Object.entries(types)
    .sort((a, b) => b[1] - a[1])
    .map(([type, weights]) => `${Math.round((100 * weights) / total)} % ${type}`)
    .join(', ');
}

const perplexity = (value) =>
  value === undefined || value === null
    ? 'not measured'
    : value >= 1000
      ? value.toExponential(2)
      : value.toFixed(2);

/** @param record as run.mjs writes it @param plot address of the plot, relative to the page; absent means none */
export function formatPage(record, { source, plot } = {}) {
  const { options } = record;
  const quiet = judgeQuiet(record);
  const parts = [
    '# Decoding on a CPU: Duobit and its peers',
    '',
    ...formatSource(record, source, 'table.mjs'),
    `- Cores kept busy by other processes during the runs: median ${rate(quiet.median)}, at most ${rate(quiet.maximum)}`,
    `- Model: ${record.model}; rounds ${options.repeats}; ${options.decode} tokens decoded after a prompt of ${options.prompts[0]}`,
    ...formatInputs(record),
    ...(record.nodeRssBytes > 0
      ? [`- Peak RSS of Node alone, in every figure: ${megabytes(record.nodeRssBytes)} MB`]
      : []),
    ...formatPeers(record),
    '',
  ];
  if (!quiet.isQuiet) {
    parts.push(
      `**The machine was busy with other things (more than ${QUIET_CORES} cores of it). The speeds below are those of ` +
        'this run and rank no engine: engines whose threads wait for each other by spinning lose far more to a busy ' +
        'machine than those that run alone. Sizes and perplexities do not depend on it.**',
      '',
    );
  }
  parts.push(
    ...formatThreadCounts(
      summarizeRuns(record),
      options.prompts,
      quiet.isQuiet,
      'Speed',
      record.nodeRssBytes,
    ),
  );
  if (plot !== undefined) parts.push(`![Tokens a second against size and perplexity](${plot})`, '');
  parts.push('## Size and quality', '', formatFiles(record.subjects), '');
  if (record.browser?.runs.length > 0) parts.push(...formatBrowser(record.browser));
  if (record.matvec?.length > 0) parts.push(...formatMatvec(record.matvec));
  parts.push(...formatSkipped(record.skipped));
  return parts.join('\n');
}

/** Where a page comes from, and on what machine and when its record was made. */
export function formatSource({ machine, load, ...record }, source, maker) {
  return [
    `Made by \`bench/${maker}\`${source === undefined ? '' : ` from [the record](${source})`}; do not edit. ` +
      'How it was measured, and why it is fair or is not: [bench/README.md](../../bench/README.md).',
    '',
    `- Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.platform} ${machine.arch}, Node ${machine.node}`,
    `- When: ${record.started} to ${record.ended}, commit ${record.commit ?? 'unknown'}${record.modified ? ' with changes' : ''}`,
    `- Load average (1, 5, 15 minutes) at the start ${load.start.join(', ')}; at the end ${load.end.join(', ')}`,
  ];
}

/** The texts that a record was made with. */
export function formatInputs({ text, calibration }) {
  return [
    `- Perplexity: ${text.name} (SHA-256 ${text.sha256.slice(0, 16)}…), ${text.windows} windows of ${text.context}`,
    `- Calibration (ours and the importance matrix for llama.cpp): ${calibration.name} (SHA-256 ${calibration.sha256.slice(0, 16)}…)`,
  ];
}

export function formatPeers({ peers }) {
  return Object.entries(peers).map(([name, versions]) => `- ${name}: ${formatVersions(versions)}`);
}

export function formatSkipped(skipped) {
  if (skipped.length === 0) return [];
  return ['## Skipped', '', ...skipped.map(({ name, reason }) => `- ${name}: ${reason}`), ''];
}

/** A table for each number of threads, with the ratios under it when the machine was quiet. */
export function formatThreadCounts(rows, prompts, isQuiet, title, nodeRssBytes) {
  return [...new Set(rows.map((item) => item.threads))].flatMap((threads) => {
    const ofThreads = rows.filter((item) => item.threads === threads);
    return [
      `## ${title}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
      '',
      'Tokens a second: median (least–most).',
      '',
      formatSpeeds(ofThreads, prompts),
      '',
      ...(isQuiet ? formatRatios(ofThreads, prompts, nodeRssBytes) : []),
    ];
  });
}

function formatBrowser(browser) {
  const quiet = judgeQuiet(browser);
  return [
    `In ${browser.version}: rounds ${browser.rounds}, ${browser.decode} tokens decoded after a prompt of ` +
      `${browser.prompts[0]}; the files are those above. Cores kept busy by other processes: median ` +
      `${rate(quiet.median)}, at most ${rate(quiet.maximum)}${quiet.isQuiet ? '' : ', too many to rank engines'}. ` +
      "Peak RSS is that of the page's process.",
    '',
    ...formatThreadCounts(
      summarizeRuns({ ...browser, options: browser }),
      browser.prompts,
      quiet.isQuiet,
      'In Chromium',
    ),
  ];
}

function formatVersions(versions) {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}

function formatSpeeds(rows, prompts) {
  // What a thread does while it runs, whoever else wants the core; threads that spin make it mean nothing.
  const isPerCpu = rows.every((item) => item.threads === 1 && item.decodePerCpuSecond !== null);
  const head = [
    '',
    'MB',
    'decode',
    ...(isPerCpu ? ['decode, per CPU second'] : []),
    ...prompts.map((length) => `prefill ${length}`),
    'load, s',
    'peak RSS, MB',
  ];
  return table(
    head,
    rows.map((item) => [
      item.subject.label +
        (item.threadsUsed < item.threads ? ` (uses ${item.threadsUsed} of ${item.threads} threads)` : ''),
      megabytes(item.subject.fileBytes),
      spread(item.decode),
      ...(isPerCpu ? [spread(item.decodePerCpuSecond)] : []),
      ...prompts.map((length) => spread(item.prefill[length])),
      item.loadSeconds.median.toFixed(2),
      megabytes(item.peakRssBytes.median),
    ]),
  );
}

/**
 * Each of ours against the peers' fastest file in the same measure, and against the memory of the fastest decoder.
 * @param nodeRssBytes peak memory of a process of Node that does nothing; absent in records of browsers
 */
function formatRatios(rows, prompts, nodeRssBytes) {
  const peers = rows.filter(({ subject }) => subject.engine !== 'duobit');
  if (peers.length === 0) return [];
  const fastest = (pick) => peers.reduce((most, item) => (pick(item) > pick(most) ? item : most));
  const pickDecode = (item) => item.decode.median;
  const measures = [
    ['decode', pickDecode],
    ...prompts.map((length) => [`prefill ${length}`, (item) => item.prefill[length].median]),
  ];
  const lines = rows
    .filter(({ subject }) => subject.engine === 'duobit')
    .map((ours) => {
      const ratios = measures.map(([name, pick]) => {
        const best = fastest(pick);
        return `${name} ${(pick(ours) / pick(best)).toFixed(2)}x ${best.subject.label}`;
      });
      const decoder = fastest(pickDecode);
      const memory = (base) =>
        ((ours.peakRssBytes.median - base) / (decoder.peakRssBytes.median - base)).toFixed(2);
      const beyond = nodeRssBytes > 0 ? ` (${memory(nodeRssBytes)}x beyond Node's own)` : '';
      return (
        `- ${ours.subject.label} against the peers' fastest: ${ratios.join('; ')}; ` +
        `peak memory ${memory(0)}x ${decoder.subject.label}, the fastest to decode${beyond}`
      );
    });
  return [...lines, ''];
}

export function formatFiles(subjects) {
  return table(
    ['', 'MB', 'bits a weight, linear layers', 'bits a weight, file', 'perplexity', 'matrices'],
    subjects.map((subject) => [
      subject.label,
      megabytes(subject.fileBytes),
      subject.linearBitsPerWeight.toFixed(2),
      subject.bitsPerWeight.toFixed(2),
      perplexity(subject.perplexity),
      formatTypes(subject.types),
    ]),
  );
}

function formatMatvec(results) {
  return [
    '## One row times a matrix, 1 thread',
    '',
    '10^9 weights a second: median (least–most). Kernels alone, no model: see the README for what each includes.',
    '',
    table(
      ['kernel', 'rows x columns', 'G weights/s'],
      results.map((item) => [item.kernel, item.shape, spread(item.gweights)]),
    ),
    '',
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const record = JSON.parse(readFileSync(process.argv[2], 'utf8'));
  process.stdout.write(formatPage(record));
}
