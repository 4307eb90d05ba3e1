// Draws the pictures of docs/method.md from the embedded model, its checkpoint, and the record of its stages: docs/method/*.svg.
// `--check` compares them with what is committed instead. The same numbers give the same bytes.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeTensor, openContainer, rotateInput, unpackBits } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { openCheckpoint } from '@duobit/quantizer';

const ROOT = join(import.meta.dirname, '..');
const FOLDER = join(ROOT, 'docs/method');
const TENSOR = 'model.layers.0.mlp.up_proj.weight';
const ROW = 0;
const WIDTH = 720;

/** Colours of the four levels, readable on both grounds, and those that change with the reader's scheme. */
const STYLE = `<style>
svg { --ground: #ffffff; --ink: #1f2937; --faint: #6b7280; --line: #d1d5db; }
@media (prefers-color-scheme: dark) { svg { --ground: #1b1b1f; --ink: #e5e7eb; --faint: #9ca3af; --line: #3f3f46; } }
text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.faint { fill: var(--faint); } .line { stroke: var(--line); } .ground { fill: var(--ground); } .strong { font-weight: 600; }
.level0 { fill: #c2410c; } .level1 { fill: #f59e0b; } .level2 { fill: #22a06b; } .level3 { fill: #2563eb; } .empty { fill: var(--line); }
.measure { fill: #2563eb; }
</style>`;

const round = (value) => Number(value.toFixed(1));
const text = (x, y, content, kind = '', anchor = 'start') =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"${kind ? ` class="${kind}"` : ''}>${content}</text>`;
const box = (x, y, width, height, kind) =>
  `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" class="${kind}"/>`;
const line = (x1, y1, x2, y2) =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="line"/>`;
const picture = (height, label, parts) =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">`,
    STYLE,
    box(0, 0, WIDTH, height, 'ground'),
    ...parts,
    '</svg>\n',
  ].join('\n');

/** A row of a layer: what the checkpoint has, rotated as the layer's input is, and what the container stores. */
async function readRow() {
  const container = await openContainer(
    await createFileSource(join(ROOT, 'fixtures/embedded/tinystories-656k.duo')),
  );
  const checkpoint = await openCheckpoint(join(ROOT, 'fixtures/tinystories-656k'));
  try {
    const data = await container.readTensor(TENSOR);
    const [rows, columns] = data.info.shape;
    const original = decodeTensor(await checkpoint.readTensor(TENSOR)).slice(
      ROW * columns,
      (ROW + 1) * columns,
    );
    if (data.info.inputRotation !== null) rotateInput(original);
    const rowOf = (values) => values.subarray(ROW * columns, (ROW + 1) * columns);
    const stored = rowOf(decodeTensor(data));
    const levels = [...new Set(stored)].sort((a, b) => a - b);
    return {
      original,
      stored,
      levels,
      sign: rowOf(unpackBits(data.planes.sign, rows, columns)),
      bitmap: rowOf(unpackBits(data.planes.bitmap, rows, columns)),
      planes: Object.entries(data.planes).map(([role, bytes]) => ({ role, bytes: bytes.length })),
      weights: rows * columns,
    };
  } finally {
    await container.close();
    await checkpoint.close();
  }
}

/** Each weight of the row at its column and its value in the checkpoint, in the colour of the level that it got. */
function drawLevels({ original, stored, levels }) {
  const [left, top, width, height] = [60, 50, 560, 300];
  const most = Math.max(...original.map(Math.abs), ...levels.map(Math.abs)) * 1.05;
  const y = (value) => top + (height / 2) * (1 - value / most);
  return picture(390, 'A row of weights and its four levels', [
    text(left, 28, `${TENSOR}, row ${ROW}: ${original.length} weights, one group, four levels`, 'strong'),
    ...levels.flatMap((level, index) => [
      line(left, y(level), left + width, y(level)),
      text(left + width + 8, y(level) + 4, level.toFixed(3), `level${index} strong`),
    ]),
    ...[...original].map((value, k) => {
      const x = left + (width * (k + 0.5)) / original.length;
      return `<circle cx="${round(x)}" cy="${round(y(value))}" r="3" class="level${levels.indexOf(stored[k])}"/>`;
    }),
    text(left - 8, y(0) + 4, '0', 'faint', 'end'),
    text(
      left,
      375,
      'across: columns; up: the value in the checkpoint; colour: the level that stands for it in the container',
      'faint',
    ),
  ]);
}

/** The first columns of the row as they lie in the file: sign bits, bitmap bits, and the levels that they choose. */
function drawBits({ sign, bitmap, stored, levels }) {
  const [left, cell, count] = [96, 19, 32];
  const row = (top, name, kindOf, textOf) => [
    text(left - 10, top + 14, name, '', 'end'),
    ...Array.from({ length: count }, (_, k) => [
      box(left + cell * k, top, cell - 2, cell - 2, kindOf(k)),
      textOf ? text(left + cell * k + (cell - 2) / 2, top + 13, textOf(k), '', 'middle') : '',
    ]).flat(),
  ];
  const levelOf = (k) => `level${levels.indexOf(stored[k])}`;
  return picture(200, 'Sign bits, bitmap bits and levels of 32 weights', [
    text(left, 28, `The first ${count} columns of that row`, 'strong'),
    ...row(
      46,
      'sign s',
      () => 'empty',
      (k) => sign[k],
    ),
    ...row(
      76,
      'bitmap m',
      () => 'empty',
      (k) => bitmap[k],
    ),
    ...row(106, 'weight', levelOf, null),
    text(left, 156, 'weight = mu[m] + alpha[m] (2 s - 1)'),
    ...levels.map((_, index) => box(left + 132 * index, 172, 12, 12, `level${index}`)),
    ...levels.map((level, index) => text(left + 132 * index + 18, 183, level.toFixed(3))),
  ]);
}

/** The bytes of the whole tensor, to scale. */
function drawPlanes({ planes, weights }) {
  const [left, top, width] = [20, 56, 680];
  const total = planes.reduce((sum, { bytes }) => sum + bytes, 0);
  let x = left;
  const parts = planes.flatMap(({ role, bytes }, index) => {
    const span = (width * bytes) / total;
    const from = x;
    x += span;
    return [
      box(from, top, span - 3, 40, `level${index}`),
      text(from, top + 60, role, 'strong'),
      text(from, top + 78, bytes.toLocaleString('en')),
      text(from, top + 96, `${round((8 * bytes * 100) / weights) / 100} bit`, 'faint'),
    ];
  });
  const title = `${TENSOR}: ${weights.toLocaleString('en')} weights in ${total.toLocaleString('en')} bytes`;
  return picture(180, 'Planes of a tensor, to scale', [
    text(left, 28, `${title}, ${round((8 * total) / weights)} bits each`, 'strong'),
    ...parts,
  ]);
}

/** Perplexity with 4-bit inputs after each stage, as the record has it. */
function drawStages() {
  const { full, stages } = JSON.parse(
    readFileSync(join(ROOT, 'docs/results/records/distillation/tinystories.json'), 'utf8'),
  );
  const bars = [
    ['full precision', full, 'empty'],
    ...stages.map(({ after, perplexity }) => [after.split(',')[0], perplexity.a4, 'measure']),
  ];
  const [left, width, step] = [150, 470, 34];
  const most = Math.max(...bars.map(([, value]) => value));
  return picture(60 + step * bars.length, 'Perplexity after each stage', [
    text(
      20,
      28,
      'TinyStories-656K, 200 held-out stories: perplexity with 4-bit inputs after each stage',
      'strong',
    ),
    ...bars.flatMap(([name, value, kind], index) => [
      text(left - 10, 62 + step * index, name, '', 'end'),
      box(left, 46 + step * index, (width * value) / most, 22, kind),
      text(left + (width * value) / most + 8, 62 + step * index, value.toFixed(2)),
    ]),
  ]);
}

const row = await readRow();
const pictures = {
  'levels.svg': drawLevels(row),
  'bits.svg': drawBits(row),
  'planes.svg': drawPlanes(row),
  'stages.svg': drawStages(),
};
const check = process.argv.includes('--check');
for (const [name, content] of Object.entries(pictures)) {
  const path = join(FOLDER, name);
  if (!check) writeFileSync(path, content);
  else if (readFileSync(path, 'utf8') !== content) {
    console.error(`docs/method/${name} is not what scripts/draw-method.mjs draws; run it`);
    process.exitCode = 1;
  }
}
console.log(`pictures: ${Object.keys(pictures).length} ${check ? 'compared' : 'drawn'}`);
