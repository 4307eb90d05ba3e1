// Writes a record and the page made from it: to docs/results when it is to be kept, else to out/bench.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './options.mjs';

/** @param format makes the page from the record and {source, plot} @param drawPlot makes an SVG beside it, if given */
export function writePage(record, { name, isKept, page, format, drawPlot }) {
  const folder = path.join(ROOT, isKept ? 'docs/results' : 'out/bench');
  const source = `records/${name}.json`;
  mkdirSync(path.join(folder, 'records'), { recursive: true });
  writeFileSync(path.join(folder, source), `${JSON.stringify(record, null, 1)}\n`);
  const plot = drawPlot === undefined ? undefined : page.replace(/md$/, 'svg');
  if (plot !== undefined) writeFileSync(path.join(folder, plot), drawPlot(record));
  const text = format(record, { source, plot });
  writeFileSync(path.join(folder, page), text);
  console.log(text);
  process.stderr.write(`written: ${path.relative(ROOT, folder)}/${page} and ${source}\n`);
}
