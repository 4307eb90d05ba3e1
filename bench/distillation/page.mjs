// `node bench/distillation/page.mjs`: docs/results/distillation.md and its plot, quality against tokens, from the records in
// docs/results/records/distillation.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../options.mjs';

const RESULTS = path.join(ROOT, 'docs/results');
const RECORDS = path.join(RESULTS, 'records/distillation');
const [WIDTH, HEIGHT] = [720, 400];
const EDGE = { left: 70, right: 40, top: 44, bottom: 56 };
const FONT = 'font-family="system-ui, sans-serif"';
/** The paper's training set, 8,192 x 2,048: where the plot ends. */
const PAPER_TOKENS = 16.8e6;

const readRecords = () =>
  readdirSync(RECORDS)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => ({ name, ...JSON.parse(readFileSync(path.join(RECORDS, name), 'utf8')) }));

const count = (tokens) => tokens.toLocaleString('en-US');
const cell = (value) => (value === null ? '' : value.toFixed(2));

/** What each preset gives, where a record has that. */
function formatPresets(presets, full) {
  return [
    '| preset | passes of stages 2, 3, 4 | trained on tokens | A16 | A4 | A4 of full precision | s |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ...presets.map(
      ({ preset, passes, tokens, perplexity, seconds, quiet }) =>
        `| \`${preset}\` | ${passes.join(', ')} | ${count(tokens)} | ${cell(perplexity.f16)} | ${cell(perplexity.a4)} | ` +
        `${(perplexity.a4 / full).toFixed(2)}x | ${quiet ? '' : '≤ '}${seconds} |`,
    ),
    '',
  ];
}

function formatRecord({ name, title, described, full, stages, presets }) {
  const rows = stages.map(
    ({ after, tokens, perplexity }) =>
      `| ${after} | ${count(tokens)} | ${cell(perplexity.f16)} | ${cell(perplexity.a4)} | ` +
      `${perplexity.a4 === null ? '' : `${(perplexity.a4 / full).toFixed(2)}x`} |`,
  );
  return [
    `## ${title}`,
    '',
    `${described} ([record](records/distillation/${name})).`,
    '',
    '| after | trained on tokens, all stages, each time it was seen | A16 | A4 | A4 of full precision |',
    '| --- | ---: | ---: | ---: | ---: |',
    `| full precision | | ${full.toFixed(2)} | | |`,
    ...rows,
    '',
    ...(presets ? formatPresets(presets, full) : []),
  ].join('\n');
}

/** A4 perplexity against tokens, both axes logarithmic; `from` tokens stand for none. */
export function drawTokens({ title, full, stages }) {
  const points = stages.filter(({ plotted }) => plotted);
  const low = Math.min(...points.map(({ tokens }) => tokens)) / 1.5;
  const x = (tokens) =>
    EDGE.left +
    ((WIDTH - EDGE.left - EDGE.right) * Math.log(tokens / low)) / Math.log((1.2 * PAPER_TOKENS) / low);
  const top = 1.2 * Math.max(...points.map(({ perplexity }) => perplexity.a4));
  const bottom = full / 1.15;
  const y = (value) =>
    HEIGHT -
    EDGE.bottom -
    ((HEIGHT - EDGE.bottom - EDGE.top) * Math.log(value / bottom)) / Math.log(top / bottom);
  const text = (at, down, anchor, words, more = '') =>
    `<text x="${at.toFixed(1)}" y="${down.toFixed(1)}" text-anchor="${anchor}" ${FONT} font-size="12" fill="#334155"${more}>${words}</text>`;
  const line = (down, dash) =>
    `<line x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${down.toFixed(1)}" y2="${down.toFixed(1)}" stroke="#94a3b8"${dash}/>`;
  // Labels above and below by turns, so that near ones do not meet.
  const marks = points.flatMap(({ tokens, perplexity, after }, i) => [
    `<circle cx="${x(tokens).toFixed(1)}" cy="${y(perplexity.a4).toFixed(1)}" r="5" fill="#c2410c"/>`,
    text(
      x(tokens) + (i % 2 === 0 ? 8 : -8),
      y(perplexity.a4) + (i % 2 === 0 ? -8 : 18),
      i % 2 === 0 ? 'start' : 'end',
      `${perplexity.a4.toFixed(1)} <tspan fill="#64748b">${after}</tspan>`,
    ),
  ]);
  const path_ = points
    .map(({ tokens, perplexity }) => `${x(tokens).toFixed(1)},${y(perplexity.a4).toFixed(1)}`)
    .join(' ');
  const ticks = [1e5, 3e5, 1e6, 3e6, PAPER_TOKENS].filter((tokens) => tokens >= low);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: perplexity at A4 against training tokens">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(
      EDGE.left,
      22,
      'start',
      `${title}, W(1+1)A4: perplexity against training tokens`,
      ' font-weight="600"',
    ),
    line(y(full), ' stroke-dasharray="4 4"'),
    text(EDGE.left, y(full) - 6, 'start', `full precision ${full.toFixed(1)}`),
    line(y(2 * full), ' stroke-dasharray="2 6"'),
    text(EDGE.left, y(2 * full) - 6, 'start', `twice that ${(2 * full).toFixed(1)}`),
    line(HEIGHT - EDGE.bottom, ''),
    ...ticks.map((tokens) =>
      text(
        x(tokens),
        HEIGHT - EDGE.bottom + 18,
        'middle',
        tokens === PAPER_TOKENS ? 'the paper: 16.8 M' : `${tokens / 1e6} M`,
      ),
    ),
    text((EDGE.left + WIDTH - EDGE.right) / 2, HEIGHT - 14, 'middle', 'tokens in all steps of stages 2 to 4'),
    `<polyline points="${path_}" fill="none" stroke="#c2410c" stroke-width="1.5"/>`,
    ...marks,
    '</svg>',
    '',
  ].join('\n');
}

/** File names in docs/results and their texts. */
export function formatDistillation() {
  const records = readRecords();
  const plots = records.filter(({ stages }) => stages.filter(({ plotted }) => plotted).length >= 3);
  const picture = ({ name }) => `distillation-${name.replace('.json', '')}.svg`;
  const page = [
    '# Distillation: what the stages give',
    '',
    'Made by `node bench/distillation/page.mjs` from the records; do not edit. What was tried on the way is in',
    '[experiments/distillation](../../experiments/distillation/README.md), the method in [quantization.md](../quantization.md).',
    '',
    ...records.map((record) =>
      plots.includes(record)
        ? `${formatRecord(record)}\n![Perplexity against tokens](${picture(record)})\n`
        : formatRecord(record),
    ),
  ].join('\n');
  return [['distillation.md', page], ...plots.map((record) => [picture(record), drawTokens(record)])];
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [name, text] of formatDistillation()) writeFileSync(path.join(RESULTS, name), text);
