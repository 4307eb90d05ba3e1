// Makes docs/results/kernels.md from a record of kernels.mjs.
import { formatSkipped, formatSource, rate, table } from './table.mjs';

/** Bits of a weight in groups of 128 with offsets: two planes and four f16 levels. */
const W11_BITS = 2 + 64 / 128;

/**
 * One row for each instruction set, kernel and shape, with {rate, share} for each number of input rows. The share is of
 * the same kernel's rate on the shape that fits the caches.
 */
export function summarizeKernels({ rows }) {
  const peakOf = (row) =>
    rows.find(
      (other) =>
        other.model === 'in cache' &&
        other.isa === row.isa &&
        other.kernel === row.kernel &&
        other.rows === row.rows,
    );
  const groups = new Map();
  for (const row of rows) {
    const key = [row.isa, row.kernel, row.model, ...row.shape].join(' ');
    if (!groups.has(key)) groups.set(key, { ...row, byRows: {} });
    groups.get(key).byRows[row.rows] = { rate: row.rate, share: row.rate / peakOf(row).rate };
  }
  return [...groups.values()];
}

export function formatKernelsPage(record, { source } = {}) {
  const groups = summarizeKernels(record);
  const counts = [...new Set(record.rows.map(({ rows }) => rows))];
  const cell = ({ rate: value, share }) => `${rate(value)} (${(100 * share).toFixed(0)} %)`;
  const parts = [
    '# Kernels of the native backend',
    '',
    ...formatSource(record, source, 'kernels-page.mjs'),
    `- Cores kept busy by other processes: ${rate(record.coresElsewhere)}`,
    ...(record.readBytesPerSecond === null
      ? []
      : [
          `- One thread reads memory at ${(record.readBytesPerSecond / 1e9).toFixed(1)} GB/s: W(1+1) weights of ` +
            `${W11_BITS} bits beyond all caches can come no faster than ` +
            `${rate((8 * record.readBytesPerSecond) / W11_BITS / 1e9)} G a second`,
        ]),
    '',
    'One thread, best of many runs, products repeated on the same weights. In parentheses the share of what the same',
    'kernel reaches on a shape whose weights lie in the first caches, given as "in cache". 10^9 weights a second, times',
    'the rows of the input; f32 in GFLOP a second.',
    '',
  ];
  for (const isa of [...new Set(groups.map((group) => group.isa))]) {
    parts.push(
      `## ${isa}`,
      '',
      table(
        [
          'kernel',
          'shapes of',
          'rows x columns',
          ...counts.map((rows) => `${rows} ${rows === 1 ? 'row' : 'rows'}`),
        ],
        groups
          .filter((group) => group.isa === isa)
          .map(({ kernel, unit, model, shape, byRows }) => [
            `${kernel}, ${unit}`,
            model,
            shape.join(' x '),
            ...counts.map((rows) => cell(byRows[rows])),
          ]),
      ),
      '',
    );
  }
  parts.push(...formatSkipped(record.skipped));
  return parts.join('\n');
}
