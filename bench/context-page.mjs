// Makes docs/results/context.md and its plot from a record of context.mjs.
import { formatSource, table } from './table.mjs';

const FONT = 'font-family="system-ui, sans-serif"';
const FRAME = { width: 720, height: 420, left: 56, right: 120, top: 48, bottom: 52 };
/** One colour a precision; one thread is dashed. */
const COLOURS = { f32: '#555', f16: '#c2410c', int8: '#1d4ed8', int4: '#047857' };
/** Contexts whose ratio the table shows: the second must cost at most 1.4 times the first. */
const [SHORT, LONG] = [128, 2048];

const labelOf = ({ threads, kv }) => `${kv}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
const medianAt = (run, context) => run.milliseconds.find((entry) => entry.context === context)?.median;

export function formatContextPage(record, { source, plot } = {}) {
  const { contexts, rounds, steps } = record.options;
  const hasRatio = contexts.includes(SHORT) && contexts.includes(LONG);
  return [
    '# Decode against context length',
    '',
    ...formatSource(record, source, 'context-page.mjs'),
    `- ${record.model}, backend native; milliseconds a token, medians of ${rounds} rounds of ${steps - 1} tokens, all rows in turns`,
    '',
    table(
      ['KV cache', ...contexts.map(String), ...(hasRatio ? [`${LONG} / ${SHORT}`] : [])],
      record.runs.map((run) => [
        labelOf(run),
        ...contexts.map((context) => medianAt(run, context).toFixed(2)),
        ...(hasRatio ? [(medianAt(run, LONG) / medianAt(run, SHORT)).toFixed(2)] : []),
      ]),
    ),
    '',
    ...(plot === undefined ? [] : [`![Milliseconds a token against context length](${plot})`, '']),
  ].join('\n');
}

/** SVG: milliseconds a token (linear, from 0) against context (logarithmic), a line for each cache and thread count. */
export function drawContextPlot(record) {
  const { width, height, left, right, top, bottom } = FRAME;
  const { contexts } = record.options;
  const most = 1.1 * Math.max(...record.runs.flatMap((run) => run.milliseconds.map(({ median }) => median)));
  const [low, high] = [Math.min(...contexts), Math.max(...contexts)];
  const x = (context) =>
    left + ((width - left - right) * Math.log(context / low)) / Math.log(Math.max(high / low, 2));
  const y = (milliseconds) => height - bottom - ((height - top - bottom) * milliseconds) / most;
  const step = [0.5, 1, 2, 5, 10, 20, 50].find((size) => most / size <= 8) ?? most / 8;
  const ticks = Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
  const text = (at, content, extra = '') =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${FONT} font-size="11" fill="#333" ${extra}>${content}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="Milliseconds a token against context length">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text([left, 24], 'Milliseconds a decoded token against positions in the KV cache', 'font-weight="600"'),
    ...ticks.flatMap((tick) => [
      `<path d="M${left} ${y(tick).toFixed(1)}H${width - right}" stroke="#e2e2e2"/>`,
      text([left - 8, y(tick) + 4], String(tick), 'text-anchor="end"'),
    ]),
    ...contexts.map((context) =>
      text([x(context), height - bottom + 18], String(context), 'text-anchor="middle"'),
    ),
    ...record.runs.flatMap((run) => {
      const points = run.milliseconds.map(
        ({ context, median }) => `${x(context).toFixed(1)} ${y(median).toFixed(1)}`,
      );
      const dash = run.threads === 1 ? ' stroke-dasharray="5 4"' : '';
      const last = run.milliseconds.at(-1);
      return [
        `<path d="M${points.join('L')}" fill="none" stroke="${COLOURS[run.kv]}" stroke-width="2"${dash}/>`,
        text([x(last.context) + 6, y(last.median) + 4], labelOf(run)),
      ];
    }),
    '</svg>',
    '',
  ].join('\n');
}
