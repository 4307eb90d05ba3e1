// The parts of the page, each for what a report has of it; null where there is nothing to show.
import type { QuantizeReport } from '../report.ts';
import type { StageReport } from '../stages/stage-report.ts';
import { curves, dotRows, stack } from './charts.ts';
import { fileParts, type LayerTable, layerTables, levelUse, notices, STAGES } from './facts.ts';
import { type Content, type Html, html } from './html.ts';
import { bytes, change, count, fixed, mean, percent, significant } from './numbers.ts';

export interface Section {
  readonly id: string;
  readonly title: string;
  readonly body: Html;
}

export function perplexitySection({ stages, evaluationTokens, recipe }: QuantizeReport): Section | null {
  const measured = stages.filter(({ perplexity }) => perplexity !== null);
  if (measured.length === 0) return null;
  const { original } = measured[0]!.perplexity!;
  const trained = recipe.distillation !== null;
  const rows = measured.map(({ stage, perplexity }) => {
    const { a16, a4 } = perplexity!;
    return {
      name: `Stage ${stage}`,
      marks: [
        { value: a16, color: 'a16' },
        { value: a4, color: 'a4' },
      ],
      text: html`${significant(a16)} <span class="soft">/</span> ${significant(a4)}`,
    };
  });
  const together = recipe.distillation?.weights?.inputs === 'student';
  const body = html`<p class="soft">Lower is better. ${count(evaluationTokens)} tokens of the calibration text${
    trained ? ' that no training has seen' : ''
  }; stage 1 may have. Embedding and head are the checkpoint’s.${
    together
      ? ' Stages 1 and 2 go through the blocks together: after stage 1 means what stage 2 began from.'
      : ''
  }</p>
<ul class="key"><li style="--c:var(--a16)">unquantized inputs (A16)</li><li style="--c:var(--a4)">4-bit inputs (A4)</li><li class="bar" style="--c:var(--original)">unquantized model, ${significant(original)}</li></ul>
${dotRows(rows, { rule: original })}
${tableOf(
  ['After', 'What it does', 'A16', 'A4', 'A4 vs unquantized'],
  [
    ['unquantized', 'the checkpoint', significant(original), '', ''],
    ...measured.map(({ stage, perplexity }) => [
      `Stage ${stage}`,
      STAGES[stage]!.what,
      significant(perplexity!.a16),
      significant(perplexity!.a4),
      change(original, perplexity!.a4),
    ]),
  ],
  'Perplexity after each stage',
  [1],
)}`;
  return { id: 'perplexity', title: 'Perplexity after each stage', body };
}

export function trainingSection({ stages }: QuantizeReport): Section | null {
  const trained = stages.filter(({ trainings }) => trainings.length > 0);
  if (trained.length === 0) return null;
  const body = html`<p class="soft">A block that came out no better on held-out text stays as it was.</p>${trained.map(stagePart)}`;
  return { id: 'training', title: 'Training', body };
}

function stagePart({ stage, trainings }: StageReport): Html {
  const { name, what, loss } = STAGES[stage]!;
  const nameOf = (block: number): string => (stage === 4 ? 'Model' : `Block ${block}`);
  const afterOf = (training: (typeof trainings)[number]): number =>
    training.kept ? training.heldOutAfter! : training.heldOutBefore;
  const rows = trainings.map((training, block) => {
    const { heldOutBefore, heldOutAfter, kept } = training;
    const marks = [{ value: heldOutBefore, color: 'soft', hollow: true }];
    if (heldOutAfter !== null)
      marks.push({ value: heldOutAfter, color: kept ? 'good' : 'bad', hollow: !kept });
    const text: Content =
      heldOutAfter === null
        ? html`${significant(heldOutBefore)} <span class="bad">diverged</span>`
        : html`${significant(heldOutBefore)} → ${significant(heldOutAfter)} <span class="${kept ? 'good' : 'bad'}">${change(heldOutBefore, heldOutAfter)}</span>`;
    return { name: nameOf(block), marks, text };
  });
  const kept = trainings.filter((training) => training.kept).length;
  const before = mean(trainings.map(({ heldOutBefore }) => heldOutBefore));
  const after = mean(trainings.map(afterOf));
  const summary =
    stage === 4
      ? `Held-out loss ${significant(before)} → ${significant(after)} (${change(before, after)}).`
      : `${kept} of ${trainings.length} blocks came out better; mean held-out loss ${significant(before)} → ${significant(after)} (${change(before, after)}).`;
  return html`<h3>Stage ${stage}: ${name}</h3><p>${what} ${summary}</p>
<ul class="key"><li class="hollow" style="--c:var(--soft)">before</li><li style="--c:var(--good)">after</li><li class="hollow" style="--c:var(--bad)">no better, not taken</li></ul>
${dotRows(rows, { wide: true })}
<p class="soft"><small>Held-out loss: ${loss}.</small></p>
${curves(
  trainings.map(({ losses, restarts, heldOutBefore }, block) => ({
    name: nameOf(block),
    losses,
    restarts,
    heldOut: heldOutBefore,
  })),
)}
<p class="soft"><small>Loss of each step; the dashed line is the held-out loss before${
    trainings.length > 1 ? ', by which all blocks are on one scale' : ''
  }. ${
    trainings.some(({ restarts }) => restarts.length > 0)
      ? 'Training began anew at an upright line; losses above 1.5 times the dashed line leave the chart.'
      : ''
  }</small></p>
<details><summary>As a table</summary>${tableOf(
    ['', 'Steps', 'Before', 'After', 'Change', 'Taken', 'Begun anew'],
    trainings.map(({ losses, heldOutBefore, heldOutAfter, kept, restarts }, block) => [
      nameOf(block),
      count(losses.length),
      significant(heldOutBefore),
      heldOutAfter === null ? 'diverged' : significant(heldOutAfter),
      heldOutAfter === null ? '' : change(heldOutBefore, heldOutAfter),
      kept ? 'yes' : 'no',
      count(restarts.length),
    ]),
    `Held-out loss of stage ${stage}`,
  )}</details>`;
}

export function layerSection(report: QuantizeReport): Section {
  const [first, ...rest] = layerTables(report);
  const body = html`${heatMap(first!)}${rest.map(
    (table) => html`<details><summary>${table.title}</summary>${heatMap(table)}</details>`,
  )}`;
  return { id: 'layers', title: 'Error of each layer', body };
}

function heatMap({ title, note, kinds, rows }: LayerTable): Html {
  const most = Math.max(
    ...rows.flatMap((row) => row.filter((value) => value !== undefined)),
    Number.MIN_VALUE,
  );
  return html`<h3>${title}</h3><p class="soft"><small>${note}</small></p><div class="scroll" tabindex="0" role="region" aria-label="${title}"><table class="heat"><thead><tr><th scope="col">Block</th>${kinds.map(
    (kind) => html`<th scope="col">${kind}</th>`,
  )}</tr></thead><tbody>${rows.map(
    (row, block) =>
      html`<tr><th scope="row">${block}</th>${row.map((value) =>
        value === undefined
          ? html`<td style="--h:0"></td>`
          : html`<td style="--h:${Math.sqrt(value / most).toFixed(3)}">${(100 * value).toFixed(1)}</td>`,
      )}</tr>`,
  )}</tbody></table></div>`;
}

const LEVELS = ['lowest', 'lower middle', 'upper middle', 'highest'];

export function levelSection(report: QuantizeReport): Section | null {
  const use = levelUse(report.tensors);
  if (use.length === 0) return null;
  const total = (counts: readonly number[]): number => counts.reduce((sum, each) => sum + each, 0);
  const body = html`<p class="soft">Every group of ${report.recipe.groupSize} weights has four levels. Two bits a weight are used in full when each
level has a quarter of the weights.</p>
<ul class="key">${LEVELS.map((name, i) => html`<li class="square" style="--c:var(--level${i})">${name}</li>`)}</ul>
<div class="rows wide">${use.map(
    ({ kind, counts }) =>
      html`<div class="row"><span>${kind}</span>${stack(
        counts.map((value, i) => ({
          value,
          color: `level${i}`,
          title: `${LEVELS[i]}: ${percent(value / total(counts))}`,
        })),
      )}<span class="number">${counts.map((value) => percent(value / total(counts), 0)).join(' · ')}</span></div>`,
  )}</div>
<h3>Where the levels lie</h3><p class="soft"><small>Mean of each level over the weights that have it, in root mean squares of a layer’s weights.</small></p>
${dotRows(
  use.map(({ kind, means }) => ({
    name: kind,
    marks: means.map((value, i) => ({ value, color: `level${i}` })),
    text: means.map((value) => fixed(value, 2)).join(' · '),
  })),
  { rule: 0, wide: true, joined: false },
)}
<details><summary>How many weights, as a table</summary>${tableOf(
    ['Layers', ...LEVELS],
    use.map(({ kind, counts }) => [kind, ...counts.map(count)]),
    'Weights at each level',
  )}</details>`;
  return { id: 'levels', title: 'Use of the four levels', body };
}

export function bytesSection(report: QuantizeReport): Section {
  const parts = fileParts(report);
  const body = html`<p class="soft">${count(report.fileBytes)} bytes for ${count(report.parameters)} parameters. Nothing is left out.</p>
${stack(
  parts.map(({ name, bytes: size }, i) => ({
    value: size,
    color: `p${i}`,
    title: `${name}: ${percent(size / report.fileBytes)}`,
  })),
  true,
)}
${tableOf(
  ['Part', 'What', 'Bytes', 'Share', 'Bits a weight'],
  [
    ...parts.map(({ name, what, bytes: size, weights }, i) => [
      html`<span class="swatch" style="--c:var(--p${i})"></span>${name}`,
      what,
      count(size),
      percent(size / report.fileBytes),
      weights ? ((8 * size) / weights).toFixed(3) : '',
    ]),
    [
      'Linear layers',
      'all of their planes',
      count(report.linearBytes),
      percent(report.linearBytes / report.fileBytes),
      report.bitsPerWeightLinear.toFixed(3),
    ],
    ['Whole file', '', count(report.fileBytes), percent(1), report.bitsPerWeightFile.toFixed(3)],
  ],
  'What the bytes are spent on',
  [1],
)}`;
  return { id: 'bytes', title: 'What the bytes are spent on', body };
}

export function noticeSection(report: QuantizeReport): Section | null {
  const list = notices(report);
  if (report.stages.length === 0 && list.length === 0) return null;
  const body =
    list.length === 0
      ? html`<p>Nothing: no training diverged, and every block came out better.</p>`
      : html`<ul class="notices">${list.map(({ place, text }) => html`<li><b>${place}.</b> ${text}</li>`)}</ul>`;
  return { id: 'notices', title: 'What did not go as planned', body };
}

export function recipeSection({ recipe, headerSha256, seconds, outPath }: QuantizeReport): Section {
  const { calibration, distillation } = recipe;
  const pairs: [string, Content][] = [
    ['Container', html`<code>${outPath}</code>`],
    ['Header SHA-256', html`<code>${headerSha256}</code>`],
    ['Checkpoint', html`${recipe.model.name}, SHA-256 <code>${recipe.model.sha256}</code>`],
    ['Made by', recipe.producer],
    ['Time', seconds < 90 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} min`],
    ['Groups', `${recipe.groupSize} columns, levels ${recipe.offsets ? 'with' : 'without'} offsets`],
    ['Rotation', recipe.rotation],
    ['Embedding', recipe.embedding],
  ];
  if (calibration) {
    const { backend, file, context, maxWindows, tokensSha256 } = calibration;
    const name = [backend.name, backend.instructionSet].filter(Boolean).join(' ');
    pairs.push(
      [
        'Calibration',
        `${file ? `${file.path}, ` : ''}at most ${maxWindows} windows of ${context} tokens, on ${name}`,
      ],
      ['Tokens SHA-256', html`<code>${tokensSha256}</code>`],
    );
  }
  if (distillation) {
    const { weights, activations, endToEnd, engine, tokens, seed } = distillation;
    const stages = [weights, activations, endToEnd].flatMap((stage, i) =>
      stage ? `stage ${i + 2}: ${stage.passes} ${stage.passes === 1 ? 'pass' : 'passes'}` : [],
    );
    pairs.push([
      'Training',
      `${stages.join(', ')}; at most ${count(tokens)} tokens, seed ${seed}, on ${engine.name}`,
    ]);
  }
  const body = html`<dl class="pairs">${pairs.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
<details><summary>The whole recipe, for <code>duobit quantize --from-recipe</code></summary><pre tabindex="0">${JSON.stringify(recipe, null, 2)}</pre></details>`;
  return { id: 'recipe', title: 'Recipe', body };
}

/** @param text columns of words */
function tableOf(
  head: readonly string[],
  rows: readonly (readonly Content[])[],
  caption: string,
  text: readonly number[] = [],
): Html {
  const kind = (column: number): string => (text.includes(column) ? 'text' : 'value');
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption class="unseen">${caption}</caption><thead><tr>${head.map(
    (name, i) => html`<th scope="col" class="${kind(i)}">${name}</th>`,
  )}</tr></thead><tbody>${rows.map(
    ([first, ...rest]) =>
      html`<tr><th scope="row">${first ?? ''}</th>${rest.map((cell, i) => html`<td class="${kind(i + 1)}">${cell}</td>`)}</tr>`,
  )}</tbody></table></div>`;
}

export function tiles(report: QuantizeReport): Html {
  const last = report.stages.at(-1)?.perplexity;
  const half = 2 * report.parameters;
  const list: [string, string, string][] = [
    [
      'Bits a weight, linear layers',
      significant(report.bitsPerWeightLinear),
      `${report.bitsPerWeightFile.toFixed(2)} in the whole file`,
    ],
    [
      'File',
      bytes(report.fileBytes),
      `${significant(half / report.fileBytes)} times smaller than at 16 bits`,
    ],
  ];
  if (last)
    list.push(
      [
        'Perplexity, 4-bit inputs',
        significant(last.a4),
        `${significant(last.original)} unquantized (${change(last.original, last.a4)})`,
      ],
      [
        'Perplexity, A16',
        significant(last.a16),
        `${significant(last.original)} unquantized (${change(last.original, last.a16)})`,
      ],
    );
  else
    list.push([
      report.calibrationTokens > 0 ? 'Error of layers’ outputs' : 'Error of weights',
      percent(report.relativeErrorLinear, 2),
      'squared, relative, mean',
    ]);
  return html`<dl class="tiles">${list.map(
    ([name, value, rest]) =>
      html`<div><dt>${name}</dt><dd class="value">${value}</dd><dd class="soft"><small>${rest}</small></dd></div>`,
  )}</dl>`;
}
