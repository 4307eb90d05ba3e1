// A page about a quantization: one HTML file without scripts that loads nothing, which its own policy forbids besides.
import type { QuantizeReport } from '../report.ts';
import { Html, html } from './html.ts';
import { count } from './numbers.ts';
import {
  bytesSection,
  layerSection,
  levelSection,
  noticeSection,
  perplexitySection,
  recipeSection,
  type Section,
  tiles,
  trainingSection,
} from './sections.ts';
import { STYLE } from './style.ts';

/** The report as an HTML document. All text in it is escaped, names of models too. */
export function renderReport(report: QuantizeReport): string {
  const sections = [
    perplexitySection(report),
    trainingSection(report),
    layerSection(report),
    levelSection(report),
    bytesSection(report),
    noticeSection(report),
    recipeSection(report),
  ].filter((section): section is Section => section !== null);
  const { sourceName, parameters, recipe } = report;
  const stages = report.stages.map(({ stage }) => stage).join(', ');
  const facts = [
    'W(1+1)A4',
    `${count(parameters)} parameters`,
    stages === '' ? 'without calibration' : `stage${stages.length > 1 ? 's' : ''} ${stages}`,
    recipe.producer,
  ];
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${sourceName}, quantized</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<header>
<h1>${sourceName}</h1>
<p class="soft">${facts.join(' · ')}</p>
${tiles(report)}
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
</header>
<main>
${sections.map(
  ({
    id,
    title,
    body,
  }) => html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>${body}</section>
`,
)}</main>
<footer><p>Written by ${recipe.producer}. The same recipe, checkpoint and text give the same file on the same machine.</p></footer>
</body>
</html>
`;
  return page.text;
}
