// A canvas with one square a weight: drawn in the colours of the style sheet, moved with the keyboard, by dragging, and enlarged.
import { h } from '../dom.ts';
import { type BitPlanes, type Colour, type PlaneView, paintPlanes } from '../planes.ts';

export interface BitCanvas {
  readonly element: HTMLElement;
  /** Buttons for the size of a weight. */
  readonly zoom: HTMLElement;
  show(planes: BitPlanes): void;
  setView(view: PlaneView): void;
}

/** CSS pixels a weight. */
const SIZES = [1, 2, 4, 8, 16] as const;
/** CSS pixels, whatever the width is. */
const HEIGHT = 288;

/** @param onPoint told of the weight that is pointed at or gone to */
export function createBitCanvas(
  onPoint: (planes: BitPlanes, row: number, column: number) => void,
): BitCanvas {
  const canvas = h('canvas', {
    tabindex: 0,
    role: 'application',
    'aria-label': 'Bits of the tensor',
    'aria-describedby': 'bits-hint',
  });
  const smaller = h(
    'button',
    { type: 'button', 'aria-label': 'Smaller', onclick: () => resize(-1) },
    '\u2212',
  );
  const larger = h('button', { type: 'button', 'aria-label': 'Larger', onclick: () => resize(1) }, '+');
  const hint = h(
    'p',
    { id: 'bits-hint', class: 'hint' },
    'Arrows go from weight to weight, with Shift from group to group; Page Up and Page Down go by the height, + and \u2212 enlarge.',
  );
  const element = h('div', { class: 'bit-canvas' }, canvas, hint);

  let planes: BitPlanes | null = null;
  let view: PlaneView = 'levels';
  let size = 2;
  let row = 0;
  let column = 0;
  const cursor = { row: 0, column: 0 };

  /** Rows and columns of weights that fit. */
  const extent = () => ({
    rows: Math.ceil(HEIGHT / SIZES[size]!),
    columns: Math.ceil(canvas.clientWidth / SIZES[size]!),
  });

  const paint = (): void => {
    const context = canvas.getContext('2d');
    if (!context || !planes || canvas.clientWidth === 0) return;
    const cell = SIZES[size]!;
    const { rows, columns } = extent();
    row = clamp(row, planes.rows - Math.floor(HEIGHT / cell));
    column = clamp(column, planes.columns - Math.floor(canvas.clientWidth / cell));
    // One pixel a weight; the style sheet enlarges without smoothing.
    const scale = cell * devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(HEIGHT * devicePixelRatio);
    const pixels = paintPlanes(planes, view, { row, column, rows, columns }, readColours(canvas));
    const picture = new OffscreenCanvas(columns, rows);
    picture.getContext('2d')!.putImageData(new ImageData(pixels, columns, rows), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, columns * scale, rows * scale);
    drawCursor(context, scale);
  };

  const drawCursor = (context: CanvasRenderingContext2D, scale: number): void => {
    if (document.activeElement !== canvas) return;
    const line = 2 * devicePixelRatio;
    const x = (cursor.column - column) * scale;
    const y = (cursor.row - row) * scale;
    // Around the weight, and within the canvas.
    const [left, top] = [Math.max(line / 2, x - line / 2), Math.max(line / 2, y - line / 2)];
    context.lineWidth = line;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.strokeRect(left, top, x + scale + line / 2 - left, y + scale + line / 2 - top);
  };

  /** Goes to a weight, and takes it into view. */
  const go = (toRow: number, toColumn: number): void => {
    if (!planes) return;
    cursor.row = clamp(toRow, planes.rows - 1);
    cursor.column = clamp(toColumn, planes.columns - 1);
    const cell = SIZES[size]!;
    const rows = Math.max(1, Math.floor(HEIGHT / cell));
    const columns = Math.max(1, Math.floor(canvas.clientWidth / cell));
    row = Math.min(cursor.row, Math.max(row, cursor.row - rows + 1));
    column = Math.min(cursor.column, Math.max(column, cursor.column - columns + 1));
    paint();
    onPoint(planes, cursor.row, cursor.column);
  };

  const resize = (by: number): void => {
    size = Math.max(0, Math.min(SIZES.length - 1, size + by));
    smaller.disabled = size === 0;
    larger.disabled = size === SIZES.length - 1;
    go(cursor.row, cursor.column);
  };

  canvas.addEventListener('keydown', (event) => {
    if (!planes || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? planes.groupSize : 1;
    const page = Math.max(1, Math.floor(HEIGHT / SIZES[size]!));
    const { row: r, column: c } = cursor;
    const targets: Readonly<Record<string, readonly [number, number]>> = {
      ArrowUp: [r - step, c],
      ArrowDown: [r + step, c],
      ArrowLeft: [r, c - step],
      ArrowRight: [r, c + step],
      PageUp: [r - page, c],
      PageDown: [r + page, c],
      Home: [r, 0],
      End: [r, planes.columns - 1],
    };
    const target = targets[event.key];
    if (target) go(...target);
    else if (event.key === '+' || event.key === '=') resize(1);
    else if (event.key === '-') resize(-1);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener('focus', paint);
  canvas.addEventListener('blur', paint);

  let drag: { readonly x: number; readonly y: number; readonly row: number; readonly column: number } | null =
    null;
  canvas.addEventListener('pointerdown', ({ offsetX, offsetY, pointerId }) => {
    drag = { x: offsetX, y: offsetY, row, column };
    canvas.setPointerCapture(pointerId);
    point(offsetX, offsetY);
  });
  canvas.addEventListener('pointermove', ({ offsetX, offsetY }) => {
    if (drag) {
      const cell = SIZES[size]!;
      row = drag.row - Math.round((offsetY - drag.y) / cell);
      column = drag.column - Math.round((offsetX - drag.x) / cell);
      paint();
    } else point(offsetX, offsetY);
  });
  const drop = (): void => {
    drag = null;
  };
  canvas.addEventListener('pointerup', drop);
  canvas.addEventListener('pointercancel', drop);

  const point = (x: number, y: number): void => {
    if (!planes) return;
    const cell = SIZES[size]!;
    const [toRow, toColumn] = [row + Math.floor(y / cell), column + Math.floor(x / cell)];
    if (toRow < 0 || toRow >= planes.rows || toColumn < 0 || toColumn >= planes.columns) return;
    cursor.row = toRow;
    cursor.column = toColumn;
    onPoint(planes, toRow, toColumn);
  };

  new ResizeObserver(paint).observe(canvas);
  document.addEventListener('themechange', paint);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
  return {
    element,
    zoom: h('div', { class: 'zoom' }, smaller, larger),
    show(next) {
      planes = next;
      row = 0;
      column = 0;
      resize(0);
      go(0, 0);
    },
    setView(next) {
      view = next;
      paint();
    },
  };
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(most, value));
}

/** The colours of the four levels, as the style sheet has them in this scheme. */
function readColours(element: HTMLElement): readonly [Colour, Colour, Colour, Colour] {
  const probe = h('i');
  element.after(probe);
  const read = (level: number): Colour => {
    probe.className = `level-${level}`;
    const [red = 0, green = 0, blue = 0] = (getComputedStyle(probe).backgroundColor.match(/\d+/g) ?? []).map(
      Number,
    );
    return [red, green, blue];
  };
  const colours = [read(0), read(1), read(2), read(3)] as const;
  probe.remove();
  return colours;
}
