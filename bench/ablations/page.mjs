// docs/results/ablations.md, from the records beside it.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../options.mjs';
import { MODELS } from '../quality/models.mjs';
import { ROWS } from './rows.mjs';

const RESULTS = path.join(ROOT, 'docs/results');
export const RECORDS = path.join(RESULTS, 'records/ablations');

const FULL = { id: 'full', title: 'full precision' };

/** Rows that have a record, in the order of the page. */
export function readAblations() {
  return [FULL, ...ROWS].flatMap((row) => {
    const file = path.join(RECORDS, `${row.id}.json`);
    return existsSync(file) ? [{ row, record: JSON.parse(readFileSync(file, 'utf8')) }] : [];
  });
}

const format = (value) => (value === undefined ? '' : value.toFixed(2));

function formatHeldOut(blocks, stage) {
  const own = blocks.filter((block) => block.stage === stage);
  return own
    .map(({ heldOutBefore, heldOutAfter, kept }) => {
      const after = heldOutAfter === null ? 'diverged' : heldOutAfter.toFixed(3);
      return `${heldOutBefore.toFixed(3)} → ${after}${kept ? '' : ' (not kept)'}`;
    })
    .join(', ');
}

function formatRow({ row, record }) {
  const { perplexity, blocks = [], seconds } = record;
  const divergences = blocks.reduce((sum, block) => sum + block.divergences.length, 0);
  const cells = [
    row.title,
    format(perplexity.stage2?.f16),
    format(perplexity.stage2?.a4),
    format(perplexity.end.f16),
    format(perplexity.end.a4),
    [2, 4].map((stage) => formatHeldOut(blocks, stage)).join(''),
    formatHeldOut(blocks, 3),
    blocks.length > 0 ? String(divergences) : '',
    seconds === undefined ? '' : `≤ ${seconds.toFixed(0)}`,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** Rows whose perplexities agree to the last bit, which are the same weights. */
function describeTwins(rows) {
  const keys = [...new Set(rows.map(({ record }) => JSON.stringify(record.perplexity)))];
  return keys
    .map((key) => rows.filter(({ record }) => JSON.stringify(record.perplexity) === key))
    .filter((group) => group.length > 1)
    .flatMap((group) => [
      `The same weights, to the last bit: ${group.map(({ row }) => row.title).join('; ')}. A relaxed bitmap among them had no bit that crossed`,
      'its threshold, so such a row says nothing of relaxed bitmaps.',
      '',
    ]);
}

export function formatAblations() {
  const rows = readAblations();
  const trained = rows.find(({ row }) => row.id === 'default')?.record;
  if (!trained) return null;
  const { recipe, passes, machine } = trained;
  const threads = [...new Set(rows.flatMap(({ record }) => record.threads ?? []))].sort();
  const missing = ROWS.filter(({ id }) => !rows.some(({ row }) => row.id === id));
  const { tokens, seed } = recipe.distillation;
  const engines = [
    ...new Set(rows.flatMap(({ record }) => record.recipe?.distillation?.engine.name ?? [])),
  ].sort();
  const head = [
    'what is changed',
    'stage 2, A16',
    'A4',
    'end, A16',
    'A4',
    'held-out loss of stage 2 (4), by block',
    'of stage 3',
    'divergences',
    's',
  ];
  return [
    '# Ablations of distillation',
    '',
    'Made by `bench/ablations/page.mjs` from [the records](records/ablations), which hold every option; do not edit.',
    '`node bench/ablations/run.mjs` measures anew.',
    '',
    `${MODELS.tinystories.title}, ${MODELS.tinystories.describe}. Trained on ${tokens} tokens of the calibration text: ${passes} passes of`,
    `stage 2 (or 4), 1 of stage 3, seed ${seed}; ${engines.join(' or ')} on ${threads.join(' or ')} threads, ${machine.cpu}, ${machine.cores} cores. Other work shared the cores: seconds are`,
    'upper bounds. One seed each; with another, **stages 2 and 3 as they are** come out 0.5 to 0.7 apart ([experiments](../../experiments/distillation/README.md)).',
    'Held-out losses compare within a stage, block and kind of loss alone.',
    '',
    `| ${head.join(' | ')} |`,
    `| ${head.map((_, i) => (i === 0 || i === 5 || i === 6 ? '---' : '---:')).join(' | ')} |`,
    ...rows.map(formatRow),
    '',
    ...describeTwins(rows),
    ...(missing.length > 0 ? [`Not measured yet: ${missing.map(({ title }) => title).join('; ')}.`, ''] : []),
  ].join('\n');
}

export function writeAblations() {
  const text = formatAblations();
  if (text) writeFileSync(path.join(RESULTS, 'ablations.md'), text);
}
