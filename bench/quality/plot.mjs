// Perplexity against bytes as SVG, one mark a method, both axes logarithmic.
const WIDTH = 720;
const HEIGHT = 440;
const EDGE = { left: 70, right: 30, top: 50, bottom: 56 };
const FONT = 'font-family="system-ui, sans-serif"';
const COLOURS = { baseline: '#1d4ed8', ours: '#c2410c' };

function createScale(values, from, to) {
  const low = Math.min(...values) / 1.1;
  const high = Math.max(...values) * 1.25;
  const at = (value) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const step of [1, 2, 3, 5, 7]) {
      const tick = step * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  return {
    at,
    ticks: ticks.length > 9 ? ticks.filter((tick) => /^[125]/.test(tick.toExponential())) : ticks,
  };
}

/** @param rows of page.mjs; the table's methods with bytes are drawn, at A16 */
export function drawQuality(rows, title, context) {
  const points = rows
    .filter(({ entry, record }) => ['baseline', 'ours'].includes(entry.group) && record.linear_bytes)
    .map(({ entry, record }) => ({
      text: entry.title,
      group: entry.group,
      x: (record.linear_bytes + record.other_bytes) / 1e6,
      y: record.perplexity[`f16-${context}`],
    }));
  if (points.length === 0) return '';
  const full = rows.find(({ entry }) => entry.group === 'full').record.perplexity[`f16-${context}`];
  const xs = createScale(
    points.map(({ x }) => x),
    EDGE.left,
    WIDTH - EDGE.right,
  );
  const ys = createScale([full, ...points.map(({ y }) => y)], HEIGHT - EDGE.bottom, EDGE.top);
  const label = (value) => (value >= 1e4 ? value.toExponential(0) : Number(value.toPrecision(3)).toString());
  const placed = [];
  const marks = [...points]
    .sort((a, b) => ys.at(a.y) - ys.at(b.y))
    .map(({ text, group, x, y }) => {
      const cx = xs.at(x);
      const cy = ys.at(y);
      const width = 6.2 * text.length;
      const left = cx + 10 + width > WIDTH - EDGE.right ? cx - 10 - width : cx + 10;
      let top = cy + 4;
      while (
        placed.some(
          (other) =>
            Math.abs(other.top - top) < 13 && left < other.left + other.width && other.left < left + width,
        )
      )
        top += 3;
      placed.push({ left, top, width });
      const mark =
        group === 'ours'
          ? `<rect x="${(cx - 5).toFixed(1)}" y="${(cy - 5).toFixed(1)}" width="10" height="10" fill="${COLOURS.ours}"/>`
          : `<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="5" fill="${COLOURS.baseline}"/>`;
      return `${mark}<text x="${left.toFixed(1)}" y="${top.toFixed(1)}" ${FONT} font-size="11" fill="#1f2937">${text}</text>`;
    });
  const grid = [
    ...xs.ticks.map(
      (tick) =>
        `<line x1="${xs.at(tick).toFixed(1)}" x2="${xs.at(tick).toFixed(1)}" y1="${EDGE.top}" y2="${HEIGHT - EDGE.bottom}" stroke="#e5e7eb"/>` +
        `<text x="${xs.at(tick).toFixed(1)}" y="${HEIGHT - EDGE.bottom + 18}" ${FONT} font-size="11" text-anchor="middle" fill="#374151">${label(tick)}</text>`,
    ),
    ...ys.ticks.map(
      (tick) =>
        `<line x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${ys.at(tick).toFixed(1)}" y2="${ys.at(tick).toFixed(1)}" stroke="#e5e7eb"/>` +
        `<text x="${EDGE.left - 8}" y="${(ys.at(tick) + 4).toFixed(1)}" ${FONT} font-size="11" text-anchor="end" fill="#374151">${label(tick)}</text>`,
    ),
  ];
  const fullY = ys.at(full).toFixed(1);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Perplexity against bytes, ${title}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${EDGE.left}" y="26" ${FONT} font-size="15" font-weight="600" fill="#111827">${title}: perplexity (A16) against megabytes of all tensors</text>`,
    ...grid,
    `<line x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${fullY}" y2="${fullY}" stroke="#6b7280" stroke-dasharray="6 4"/>`,
    `<text x="${EDGE.left + 6}" y="${(ys.at(full) - 6).toFixed(1)}" ${FONT} font-size="11" fill="#6b7280">full precision</text>`,
    ...marks,
    `<text x="${(EDGE.left + WIDTH - EDGE.right) / 2}" y="${HEIGHT - 14}" ${FONT} font-size="12" text-anchor="middle" fill="#374151">MB</text>`,
    '</svg>',
    '',
  ].join('\n');
}
