// Makes docs/results/shapes.md from a record of shapes.mjs.
import { judgeQuiet, summarize, summarizeRuns } from './record.mjs';
import { formatSkipped, formatSource, megabytes, rate, spread, table } from './table.mjs';

/** The share of the bandwidth floor that decode must reach once weights exceed the cache. */
const BAR = 0.8;

/**
 * Rows of summarizeRuns with `floor` (tokens a second, were the weights only read) and `share` of it that decode
 * reaches, each over the rounds; null where no bandwidth was measured.
 */
export function summarizeShapes(record) {
  return summarizeRuns(record).map((row) => {
    const runs = record.runs.filter((run) => run.subject === row.subject.id && run.threads === row.threads);
    const isMeasured = runs.every(({ readBytesPerSecond }) => readBytesPerSecond > 0);
    const floorOf = ({ readBytesPerSecond, weightBytes }) => readBytesPerSecond / weightBytes;
    return {
      ...row,
      weightBytes: runs[0].weightBytes,
      floor: isMeasured ? summarize(runs.map(floorOf)) : null,
      share: isMeasured ? summarize(runs.map((run) => run.decode / floorOf(run))) : null,
    };
  });
}

export function formatShapesPage(record, { source } = {}) {
  const quiet = judgeQuiet(record);
  const { options } = record;
  const rows = summarizeShapes(record);
  const percent = (share) => (100 * share).toFixed(0);
  const shareOf = ({ median, minimum, maximum }) =>
    `${percent(median)} % (${percent(minimum)}–${percent(maximum)})`;
  return [
    '# Decode against the bandwidth floor',
    '',
    ...formatSource(record, source, 'shapes-page.mjs'),
    `- Cores kept busy by other processes during the runs: median ${rate(quiet.median)}, at most ${rate(quiet.maximum)}`,
    `- Rounds ${options.repeats}; ${options.decode} tokens decoded after a prompt of ${options.prompts[0]}; backend native, W(1+1)A4`,
    '',
    'Random weights in the shapes of Llama 3.2 1B and 3B, with their vocabulary of 128256 and tied 8-bit embedding. Every',
    'token reads all weights. The floor is how often a second as many threads, doing nothing else, read a buffer of that',
    `size, measured beside each round. The aim is ${100 * BAR} % of it.`,
    '',
    table(
      [
        '',
        'threads',
        'weights, MB',
        'decode, tokens/s',
        'floor, tokens/s',
        'share',
        'load, s',
        'peak RSS, MB',
      ],
      rows.map((row) => [
        row.subject.label,
        row.threads,
        megabytes(row.weightBytes),
        spread(row.decode),
        row.floor === null ? 'not measured' : spread(row.floor),
        row.share === null ? 'not measured' : shareOf(row.share),
        row.loadSeconds.median.toFixed(1),
        megabytes(row.peakRssBytes.median),
      ]),
    ),
    '',
    ...formatSkipped(record.skipped),
  ].join('\n');
}
