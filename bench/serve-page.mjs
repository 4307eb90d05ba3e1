// Makes docs/results/serve.md from the records of serve.mjs.
import { formatSource, table } from './table.mjs';

const megabytes = (bytes) => (bytes / 1e6).toFixed(0);
/** Before this share of a run caches and heap still grow. */
const WARM_UP = 0.2;

/** Of values in ascending order, the least that this share of them does not exceed; null of none. */
export function quantile(values, share) {
  return values.length === 0 ? null : values[Math.max(0, Math.ceil(share * values.length) - 1)];
}

/** @param runs each {record, source} */
export function formatServePage(runs) {
  return [
    '# Serving under load',
    '',
    'Clients that stream answers of `duobit serve` one after the other, with mixed prompts, some of which they leave in the middle; they run on ' +
      'the same processor as the server. The time to the first token has the wait for a turn in it, which is most of it where there are ' +
      'more clients than answers at a time.',
    '',
    ...runs.flatMap(({ record, source }) => formatRun(record, source)),
  ].join('\n');
}

function formatRun(record, source) {
  const { options, server, firstTokenMs, samples } = record;
  const settled = samples.filter(({ seconds }) => seconds >= WARM_UP * options.seconds);
  const range = (pick) =>
    `${megabytes(Math.min(...settled.map(pick)))}–${megabytes(Math.max(...settled.map(pick)))}`;
  const failed = Object.entries(record.failures).map(([what, count]) => `${count} × ${what}`);
  return [
    `## ${record.model}, ${options.clients} clients`,
    '',
    ...formatSource(record, source, 'serve-page.mjs'),
    `- ${server.backend}, ${server.threads} threads, ${server.parallel} answers at a time, ${options.seconds} s, answers of at most ` +
      `${options.longest} tokens, ${100 * options.aborts} % left in the middle`,
    '',
    table(
      ['', ''],
      [
        ['complete answers', record.answers],
        ['left in the middle', record.aborted],
        ['failed', failed.length === 0 ? record.failed : `${record.failed} (${failed.join(', ')})`],
        [
          'time to first token, p50 / p95 / p99, s',
          [50, 95, 99].map((p) => (firstTokenMs[`p${p}`] / 1000).toFixed(2)).join(' / '),
        ],
        ['tokens/s, all together', record.tokensPerSecond.toFixed(0)],
        ['tokens of prompts that were in a cache', `${(100 * record.reusedShare).toFixed(0)} %`],
        [
          'answers running and waiting after the last client',
          `${record.left.running} and ${record.left.waiting}`,
        ],
        [`resident memory after ${100 * WARM_UP} % of the time, MB`, range(({ rssBytes }) => rssBytes)],
        ['JavaScript heap then, MB', range(({ heapBytes }) => heapBytes)],
        ['exit code after SIGTERM', record.exitCode],
      ],
    ),
    '',
    'Memory over time:',
    '',
    table(
      ['s', 'resident, MB', 'heap, MB', 'tokens/s'],
      thin(samples).map((sample) => [
        sample.seconds,
        megabytes(sample.rssBytes),
        megabytes(sample.heapBytes),
        sample.tokensPerSecond.toFixed(0),
      ]),
    ),
    '',
  ];
}

/** At most 13 of them, the first and the last among them. */
function thin(samples) {
  const step = Math.ceil((samples.length - 1) / 12) || 1;
  return samples.filter((_, i) => i % step === 0 || i === samples.length - 1);
}
