// docs/results/quality.md and its plots, from the records beside it.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../options.mjs';
import { formatContainers } from './containers.mjs';
import { METHODS } from './methods.mjs';
import { MODELS } from './models.mjs';
import { drawQuality } from './plot.mjs';

const RESULTS = path.join(ROOT, 'docs/results');
export const RECORDS = path.join(RESULTS, 'records/quality');

/** Load average above which a time says little: one job of our own is 1 to 2. */
const BUSY = 2.5;

const formatPerplexity = (value) =>
  value === undefined ? '' : value >= 1e5 ? value.toExponential(1) : value.toFixed(value >= 1000 ? 0 : 2);
const formatMegabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e6 ? 3 : 2);

/** Of one model: the methods that have a record, in the order of the page. */
export function readRecords(name) {
  if (!existsSync(RECORDS)) return [];
  const files = new Set(readdirSync(RECORDS));
  return METHODS.filter(({ id }) => files.has(`${name}-${id}.json`)).map((entry) => ({
    entry,
    record: JSON.parse(readFileSync(path.join(RECORDS, `${name}-${entry.id}.json`), 'utf8')),
  }));
}

function formatRow({ entry, record }, full, contexts) {
  const { perplexity, linear_bytes: linear, linear_weights: weights, other_bytes: other } = record;
  const cells = contexts.flatMap((context) =>
    ['f16', 'a4'].map((kind) => {
      const value = perplexity[`${kind}-${context}`];
      const ratio = value / full.perplexity[`f16-${context}`];
      return entry.group === 'full' && kind === 'f16'
        ? formatPerplexity(value)
        : `${formatPerplexity(value)} (${ratio >= 100 ? ratio.toExponential(0) : ratio.toFixed(2)}x)`;
    }),
  );
  const sizes = linear
    ? [
        formatMegabytes(linear),
        ((8 * linear) / weights).toFixed(3),
        formatMegabytes(linear + other),
        `${Math.max(record.load.start[0], record.load.end[0]) > BUSY ? '≤ ' : ''}${record.seconds.toFixed(0)}`,
        (record.peak_rss_kib.after / 2 ** 20).toFixed(2),
      ]
    : ['', '', '', '', ''];
  const title = entry.group === 'ours' ? `**${entry.title}**` : entry.title;
  return `| ${[title, ...cells, ...sizes].join(' | ')} |`;
}

function formatModel(name) {
  const { title, describe, contexts } = MODELS[name];
  const rows = readRecords(name);
  const full = rows.find(({ entry }) => entry.group === 'full')?.record;
  if (!full) return [];
  const head = [
    'method',
    ...contexts.flatMap((context) => [`A16, ${context}`, `A4, ${context}`]),
    'MB, linear layers',
    'bits a weight',
    'MB, all tensors',
    's',
    'peak GiB',
  ];
  const table = (groups) => [
    `| ${head.join(' | ')} |`,
    `| ${head.map((_, i) => (i === 0 ? '---' : '---:')).join(' | ')} |`,
    ...rows.filter(({ entry }) => groups.includes(entry.group)).map((row) => formatRow(row, full, contexts)),
  ];
  const section = (heading, groups) =>
    rows.some(({ entry }) => groups.includes(entry.group) && entry.group !== 'ours')
      ? [heading, '', ...table(groups), '']
      : [];
  const { machine, backend, threads, evaluation, perplexity } = full;
  const windows = rows.find(({ record }) => record.calibration)?.record.calibration.tokens;
  return [
    `## ${title}`,
    '',
    `${describe}; ${windows ?? 0} tokens of calibration, ${perplexity.tokens} predicted` +
      `${evaluation.limit ? ` (the first ${evaluation.limit} windows)` : ''}. ${backend}, ${threads} threads, ${machine.processor ?? machine.cpu ?? machine.model}, ${machine.cores ?? ''} cores.`,
    '',
    ...table(['full', 'baseline', 'ours']),
    '',
    `![Perplexity against bytes](quality-${name}.svg)`,
    '',
    ...(name === 'tinystories' ? besideOfficial(rows) : []),
    ...section('### Baselines on rotated inputs', ['rotated baseline', 'ours']),
    ...section('### One part changed', ['ours', 'ablation']),
  ];
}

/** Ours beside the official code, of scripts/official. */
function besideOfficial(rows) {
  const { official } = JSON.parse(
    readFileSync(path.join(RESULTS, 'records/official-tinystories.json'), 'utf8'),
  );
  const pairs = rows
    .filter(({ entry }) => Object.hasOwn(official, entry.id))
    .map(({ entry, record }) => [entry.title, record.perplexity['f16-512'], official[entry.id]]);
  return [
    '### Beside the official code',
    '',
    'Perplexity at A16 of the official code in PyTorch ([scripts/official](../../scripts/official/README.md)): with the layers of',
    'one input measured behind those before, quantized, as ours; and with all layers of a block measured before any is quantized, as',
    "those repositories' scripts have it. PB-LLM's code takes means and scales over salient weights, too; taken over binary",
    `weights alone, as ours, it gives ${formatPerplexity(official['pb-llm, masked means'].perplexity)}.`,
    '',
    '| method | ours | official code | a block at once |',
    '| --- | ---: | ---: | ---: |',
    ...pairs.map(
      ([title, value, { perplexity, perplexityBlockAtOnce: atOnce }]) =>
        `| ${title} | ${[value, perplexity, atOnce].map(formatPerplexity).join(' | ')} |`,
    ),
    '',
  ];
}

/** File name -> text of the page and of its plots. */
export function formatQuality() {
  const lines = [
    '# Quality of quantized models',
    '',
    'Made by `bench/quality/page.mjs` from [the records](records/quality); do not edit. `npm run results -- --model tinystories`',
    'measures anew, `npm run results:check` measures the small model and compares with the records.',
    '',
    'Perplexity, in brackets over full precision. A16: inputs of linear layers unquantized; A4: dynamic 4-bit codes for every',
    'token, with searched clips for all methods (full precision: without). W(1+1) reads rotated inputs; baselines as their papers',
    'have them, and rotated ones, too, in a table of their own. Baselines are computed from the steps of their papers,',
    'calibrated on the same tokens as ours; their bytes count everything that a file would have to hold. "MB, all tensors"',
    'adds embedding and head at 8 bits and norms. Groups of 128 columns. s and peak GiB are of quantizing, in this process;',
    '≤ where the machine had other work.',
    '',
    ...Object.keys(MODELS).flatMap(formatModel),
    ...formatContainers(),
  ];
  const plots = Object.entries(MODELS)
    .map(([name, { title, contexts }]) => [
      `quality-${name}.svg`,
      drawQuality(readRecords(name), title, contexts[0]),
    ])
    .filter(([, text]) => text !== '');
  return new Map([['quality.md', lines.join('\n')], ...plots]);
}

export function writeQualityPage() {
  for (const [name, text] of formatQuality()) writeFileSync(path.join(RESULTS, name), text);
  console.error('written: docs/results/quality.md');
}
