// Makes docs/results/sequences.md from a record of sequences.mjs.
import { QUIET_CORES } from './record.mjs';
import { formatSource, rate, spread, table } from './table.mjs';

const milliseconds = ({ median, minimum, maximum }) =>
  `${median.toFixed(0)} (${minimum.toFixed(0)}–${maximum.toFixed(0)})`;
const threadsOf = ({ threads }) => `${threads} ${threads === 1 ? 'thread' : 'threads'}`;

export function formatSequencesPage(record, { source } = {}) {
  const { rounds, tokens, prompt, long } = record.options;
  const isBusy = record.coresElsewhere > QUIET_CORES;
  return [
    '# Several texts at the same time',
    '',
    ...formatSource(record, source, 'sequences-page.mjs'),
    `- Cores kept busy by other processes: ${rate(record.coresElsewhere)}`,
    `- ${record.model}, backend native, \`generate\`, greedy: ${tokens} tokens after prompts of ${prompt} that have nothing in common; all ` +
      `rows of a thread count in turns, ${rounds} rounds`,
    '',
    ...(isBusy
      ? [
          '**The machine was busy with other things: speeds are those of this run, and a ratio is between neighbours in time.**',
          '',
        ]
      : []),
    'Tokens a second of all texts together, median (least–most), while all are being written; the ratio to one text is of the same round.',
    '',
    table(
      ['', 'texts', 'tokens/s', 'tokens/s of each', 'ratio to one'],
      record.runs.flatMap((run) =>
        run.totals.map(({ count, tokensPerSecond, ratio }) => [
          threadsOf(run),
          count,
          spread(tokensPerSecond),
          rate(tokensPerSecond.median / count),
          spread(ratio),
        ]),
      ),
    ),
    '',
    `When a prompt of ${long} comes while others are being written, milliseconds:`,
    '',
    table(
      ['', 'texts', 'longest wait for a token', "the prompt's first token", 'the same, alone'],
      record.runs.map((run) => [
        threadsOf(run),
        run.joining.texts,
        ...['pause', 'firstToken', 'firstTokenAlone'].map((name) => milliseconds(run.joining[name])),
      ]),
    ),
    '',
  ].join('\n');
}
