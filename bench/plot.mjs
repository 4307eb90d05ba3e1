// Draws a record as SVG: decode speed against file size, and against perplexity, one mark for each file and engine.
//   node bench/plot.mjs docs/results/records/<record>.json > plot.svg
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { judgeQuiet, summarizeRuns } from './record.mjs';

const PANEL = { width: 560, height: 430, left: 64, right: 20, top: 56, bottom: 52 };
/** Blue and orange differ for every kind of colour vision; ours are also squares. */
const COLOURS = { duobit: '#c2410c', 'llama.cpp': '#1d4ed8' };
const FONT = 'font-family="system-ui, sans-serif"';

const escapeText = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** A scale from values to pixels, logarithmic to base 10, with round values as ticks. */
function createScale(values, from, to) {
  const low = Math.min(...values) / 1.15;
  const high = Math.max(...values) * 1.15;
  const at = (value) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const step of [1, 2, 5]) {
      const tick = step * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  // Many decades need no 2 and 5.
  const shown = ticks.length > 9 ? ticks.filter((tick) => Number.isInteger(Math.log10(tick))) : ticks;
  return { at, ticks: shown.length > 1 ? shown : [Math.min(...values), Math.max(...values)] };
}

const formatTick = (value) =>
  value >= 1e4 ? value.toExponential(0) : Number(value.toPrecision(3)).toString();

/** Heights of labels, moved so that those of one panel do not cover each other. */
function placeLabels(points) {
  const placed = [];
  for (const point of [...points].sort((a, b) => a.y - b.y)) {
    const width = 6 * point.text.length;
    const isLeft = point.x + 10 + width > PANEL.width - PANEL.right;
    const x = isLeft ? point.x - 8 - width : point.x + 8;
    let y = point.y + 4;
    while (
      placed.some((other) => Math.abs(other.y - y) < 12 && x < other.x + other.width && other.x < x + width)
    ) {
      y += 2;
    }
    placed.push({ ...point, labelX: x, x, y, width });
  }
  return placed;
}

function drawPanel(points, { offset, title, xLabel }) {
  const { width, height, left, right, top, bottom } = PANEL;
  const xs = createScale(
    points.map(({ x }) => x),
    left,
    width - right,
  );
  const ys = createScale(
    points.map(({ y }) => y),
    height - bottom,
    top,
  );
  const lines = [`<g transform="translate(${offset} 0)">`];
  lines.push(
    `<text x="${left}" y="24" ${FONT} font-size="15" font-weight="600" fill="#111">${escapeText(title)}</text>`,
  );
  for (const tick of xs.ticks) {
    const x = xs.at(tick).toFixed(1);
    lines.push(`<path d="M${x} ${top}V${height - bottom}" stroke="#e2e2e2"/>`);
    lines.push(
      `<text x="${x}" y="${height - bottom + 18}" ${FONT} font-size="11" fill="#333" text-anchor="middle">${formatTick(tick)}</text>`,
    );
  }
  for (const tick of ys.ticks) {
    const y = ys.at(tick).toFixed(1);
    lines.push(`<path d="M${left} ${y}H${width - right}" stroke="#e2e2e2"/>`);
    lines.push(
      `<text x="${left - 8}" y="${Number(y) + 4}" ${FONT} font-size="11" fill="#333" text-anchor="end">${formatTick(tick)}</text>`,
    );
  }
  lines.push(`<path d="M${left} ${top}V${height - bottom}H${width - right}" fill="none" stroke="#666"/>`);
  lines.push(
    `<text x="${(left + width - right) / 2}" y="${height - 12}" ${FONT} font-size="12" fill="#111" text-anchor="middle">${escapeText(xLabel)}</text>`,
  );
  lines.push(
    `<text transform="translate(16 ${(top + height - bottom) / 2}) rotate(-90)" ${FONT} font-size="12" fill="#111" text-anchor="middle">decoded tokens a second</text>`,
  );
  const pixels = points.map((point) => ({ ...point, x: xs.at(point.x), y: ys.at(point.y) }));
  for (const { x, y, isOurs } of pixels) {
    const colour = isOurs ? COLOURS.duobit : COLOURS['llama.cpp'];
    lines.push(
      isOurs
        ? `<rect x="${(x - 5).toFixed(1)}" y="${(y - 5).toFixed(1)}" width="10" height="10" fill="${colour}"/>`
        : `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4.5" fill="${colour}"/>`,
    );
  }
  for (const { labelX, y, text, isOurs } of placeLabels(pixels)) {
    const colour = isOurs ? COLOURS.duobit : '#333';
    lines.push(
      `<text x="${labelX.toFixed(1)}" y="${y.toFixed(1)}" ${FONT} font-size="11" fill="${colour}">${escapeText(text)}</text>`,
    );
  }
  lines.push('</g>');
  return lines;
}

/** SVG of the record's runs at its largest thread count. Axes are logarithmic. */
export function drawPlot(record) {
  const threads = Math.max(...record.runs.map((run) => run.threads));
  const points = summarizeRuns(record)
    .filter((item) => item.threads === threads)
    .map(({ subject, decode }) => ({
      text: subject.short,
      isOurs: subject.engine === 'duobit',
      size: subject.fileBytes / 1e6,
      perplexity: subject.perplexity,
      y: decode.median,
    }));
  const judged = points.filter(({ perplexity }) => Number.isFinite(perplexity));
  const asked = `${threads} ${threads === 1 ? 'thread' : 'threads'} asked for`;
  const note = judgeQuiet(record).isQuiet ? '' : '; the machine was busy: these speeds rank no engine';
  const height = PANEL.height + 28;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * PANEL.width} ${height}" role="img" aria-label="Decode speed against file size and perplexity">`,
    `<rect width="${2 * PANEL.width}" height="${height}" fill="#fff"/>`,
    ...drawPanel(
      points.map((point) => ({ ...point, x: point.size })),
      {
        offset: 0,
        title: 'Speed against file size',
        xLabel: 'file, MB (less is better)',
      },
    ),
    ...(judged.length === 0
      ? []
      : drawPanel(
          judged.map((point) => ({ ...point, x: point.perplexity })),
          {
            offset: PANEL.width,
            title: 'Speed against perplexity',
            xLabel: 'perplexity (less is better)',
          },
        )),
    `<text x="${PANEL.left}" y="${height - 10}" ${FONT} font-size="12" fill="#111">Squares: Duobit W(1+1). Circles: llama.cpp. ${escapeText(`${asked}${note}.`)}</text>`,
    '</svg>',
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(drawPlot(JSON.parse(readFileSync(process.argv[2], 'utf8'))));
}
