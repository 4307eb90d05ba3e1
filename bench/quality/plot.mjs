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
    for (const step of [1, 1.5, 2, 3, 4, 5, 6, 7, 8]) {
      const tick = step * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  return {
    at,
    ticks: ticks.length > 9 ? ticks.filter((tick) => /^[125](e|$)/.test(tick.toExponential())) : ticks,
  };
}

/** Where a label may stand beside its mark, best first: [x, y, anchor]. */
const PLACES = [
  [10, 4, 'start'],
  [-10, 4, 'end'],
  [0, -11, 'middle'],
  [0, 19, 'middle'],
  [8, -9, 'start'],
  [8, 17, 'start'],
  [-8, -9, 'end'],
  [-8, 17, 'end'],
  [10, 30, 'start'],
  [10, -22, 'start'],
];

/** Boxes [left, top, right, bottom] that overlap. */
const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

/** Puts a label where it covers neither marks nor the labels before it. */
function placeLabel({ cx, cy, text }, taken) {
  const width = 6.2 * text.length;
  const options = PLACES.map(([dx, dy, anchor]) => {
    const x = cx + dx;
    const left = anchor === 'start' ? x : anchor === 'end' ? x - width : x - width / 2;
    return { x, y: cy + dy, anchor, box: [left, cy + dy - 10, left + width, cy + dy + 3] };
  });
  const inside = ({ box }) => box[0] >= EDGE.left && box[2] <= WIDTH - 4;
  const chosen =
    options.find((option) => inside(option) && !taken.some((box) => meet(box, option.box))) ?? options[0];
  taken.push(chosen.box);
  return chosen;
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
  const places = points.map((point) => ({ ...point, cx: xs.at(point.x), cy: ys.at(point.y) }));
  const taken = places.map(({ cx, cy }) => [cx - 6, cy - 6, cx + 6, cy + 6]);
  const marks = places
    .sort((a, b) => a.cy - b.cy)
    .map((place) => {
      const { group, cx, cy, text } = place;
      const { x, y, anchor } = placeLabel(place, taken);
      const mark =
        group === 'ours'
          ? `<rect x="${(cx - 5).toFixed(1)}" y="${(cy - 5).toFixed(1)}" width="10" height="10" fill="${COLOURS.ours}"/>`
          : `<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="5" fill="${COLOURS.baseline}"/>`;
      return `${mark}<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${FONT} font-size="11" text-anchor="${anchor}" fill="#1f2937">${text}</text>`;
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
