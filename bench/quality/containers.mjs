// Of the page of quality: what `duobit eval --record` measured of whole files, as users run them.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../options.mjs';

const RECORDS = path.join(ROOT, 'docs/results/records/eval');

const shareOf = (value, error) =>
  value === null ? '' : `${(100 * value).toFixed(1)} ± ${(100 * error).toFixed(1)}`;

function table(head, rows) {
  return [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map(
    (row) => `| ${row.join(' | ')} |`,
  );
}

/** One line a model and kind of inputs; what was measured of it beside each other. */
function group(records, keyOf) {
  const rows = new Map();
  for (const record of records) {
    const row = `${path.basename(record.model.name)}, ${record.options.activations === 'a4' && record.model.sha256_of === 'header' ? 'A4' : 'A16'}`;
    rows.set(row, new Map([...(rows.get(row) ?? []), ...keyOf(record)]));
  }
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function formatContainers() {
  if (!existsSync(RECORDS)) return [];
  const records = readdirSync(RECORDS)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => JSON.parse(readFileSync(path.join(RECORDS, file), 'utf8')));
  const texts = records.filter(({ kind }) => kind === 'perplexity');
  const tasks = records.filter(({ kind }) => kind === 'zeroshot');
  const columnOf = ({ data, options, result }) =>
    `${data[0].file}, ${options.context}${options.limit ? `, first ${result.windows} windows` : ', whole'}`;
  const columns = [...new Set(texts.map(columnOf))];
  const names = [...new Set(tasks.flatMap(({ result }) => result.tasks.map(({ task }) => task)))];
  const perplexities = group(texts, (record) => [[columnOf(record), record.result.perplexity.toFixed(2)]]);
  const choices = group(tasks, ({ result }) =>
    result.tasks.map(({ task, acc, acc_stderr: error, acc_norm: norm, acc_norm_stderr: normError }) => [
      task,
      [shareOf(acc, error), shareOf(norm, normError)].filter(Boolean).join('; '),
    ]),
  );
  const cells = (keys) => (entry) => [entry[0], ...keys.map((key) => entry[1].get(key) ?? '')];
  return [
    '## Whole files',
    '',
    'Measured by `duobit eval` with [records](records/eval), each enough for `duobit eval rerun`. Perplexity:',
    '',
    ...table(['file', ...columns], perplexities.map(cells(columns))),
    '',
    `Multiple choice, right answers in percent by log-likelihood; after the semicolon by that a character${
      tasks.some(({ options }) => options.limit)
        ? `; the first ${Math.max(...tasks.map(({ options }) => options.limit ?? 0))} questions of each task`
        : ''
    }:`,
    '',
    ...table(['file', ...names], choices.map(cells(names))),
    '',
  ];
}
