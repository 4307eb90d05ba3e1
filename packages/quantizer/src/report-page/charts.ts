// Charts that stay legible at any width: marks are placed in parts of the width, words are words of the page.
import { thin } from './facts.ts';
import { type Content, type Html, html } from './html.ts';
import { makeScale, type Scale, significant } from './numbers.ts';

export interface Mark {
  readonly value: number;
  /** A custom property of the style sheet: 'a16'. */
  readonly color: string;
  readonly hollow?: boolean;
}

export interface DotRow {
  readonly name: string;
  readonly marks: readonly Mark[];
  /** The numbers that the marks show, in words. */
  readonly text: Content;
}

/** A row for each name with dots on one scale, joined where there are two; the words of each row say what the dots show. */
export function dotRows(
  rows: readonly DotRow[],
  {
    rule,
    wide = false,
    joined = true,
  }: { readonly rule?: number; readonly wide?: boolean; readonly joined?: boolean } = {},
): Html {
  const values = rows.flatMap(({ marks }) => marks.map(({ value }) => value));
  const scale = makeScale(rule === undefined ? values : [...values, rule]);
  return html`<div class="rows${wide ? ' wide' : ''}">${rows.map(
    ({ name, marks, text }) =>
      html`<div class="row"><span>${name}</span><span class="track" aria-hidden="true">${
        rule === undefined ? null : html`<i class="rule" style="left:${place(scale, rule)}"></i>`
      }${joined && marks.length > 1 ? span(scale, marks) : null}${marks.map(
        ({ value, color, hollow }) =>
          html`<i class="dot${hollow ? ' hollow' : ''}" style="left:${place(scale, value)};--c:var(--${color})"></i>`,
      )}</span><span class="number">${text}</span></div>`,
  )}</div>`;
}

function span(scale: Scale, marks: readonly Mark[]): Html {
  const places = marks.map(({ value }) => scale(value));
  const left = Math.min(...places);
  const width = Math.max(...places) - left;
  return html`<i class="span" style="left:${(100 * left).toFixed(2)}%;width:${(100 * width).toFixed(2)}%;--c:var(--${marks.at(-1)!.color})"></i>`;
}

function place(scale: Scale, value: number): string {
  return `${(100 * scale(value)).toFixed(2)}%`;
}

export interface Curve {
  readonly name: string;
  readonly losses: readonly number[];
  readonly restarts: readonly number[];
  /** Before training; a line. Losses are drawn in parts of it. */
  readonly heldOut: number;
}

const POINTS = 150;
/** Losses above this many times the held-out one leave the chart at its top. */
const MOST = 1.5;

/** One small chart a curve, all on the same scale of losses in parts of the held-out loss before. */
export function curves(list: readonly Curve[]): Html {
  const thinned = list.map(({ losses, heldOut }) =>
    thin(losses, POINTS).map(({ step, loss }) => ({ step, part: loss / heldOut })),
  );
  const scale = makeScale([1.1, ...thinned.flat().flatMap(({ part }) => (part <= MOST ? part : []))], 100);
  return html`<ul class="curves${list.length === 1 ? ' one' : ''}">${list.map(
    ({ name, losses, restarts }, i) => {
      const across = (step: number): string => ((100 * step) / losses.length).toFixed(2);
      const points = thinned[i]!.map(({ step, part }) => `${across(step)},${y(scale, part)}`).join(' ');
      return html`<li><figure><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="${label(name, losses)}"><title>${label(name, losses)}</title><line class="held" x1="0" x2="100" y1="${y(scale, 1)}" y2="${y(scale, 1)}"/>${restarts.map(
        (step) => html`<line class="restart" x1="${across(step)}" x2="${across(step)}" y1="0" y2="100"/>`,
      )}<polyline class="curve" points="${points}"/></svg><figcaption><b>${name}</b><span>${ends(losses)}</span></figcaption></figure></li>`;
    },
  )}</ul>`;
}

function y(scale: Scale, value: number): string {
  return (100 * (1 - scale(value))).toFixed(2);
}

function ends(losses: readonly number[]): string {
  const finite = losses.filter(Number.isFinite);
  if (finite.length === 0) return 'no loss';
  return `${significant(tail(finite, 0))} \u2192 ${significant(tail(finite, -1))}`;
}

/** Mean of up to 8 losses at the beginning or the end. */
function tail(losses: readonly number[], end: 0 | -1): number {
  const count = Math.min(8, Math.ceil(losses.length / 2));
  const some = end === 0 ? losses.slice(0, count) : losses.slice(-count);
  return some.reduce((sum, loss) => sum + loss, 0) / some.length;
}

function label(name: string, losses: readonly number[]): string {
  return `${name}: loss ${ends(losses)} over ${losses.length} steps`;
}

/** One bar of parts that add up to all of it. */
export function stack(
  parts: readonly { readonly value: number; readonly color: string; readonly title: string }[],
  tall = false,
): Html {
  return html`<span class="stack${tall ? ' tall' : ''}" aria-hidden="true">${parts.map(
    ({ value, color, title }) =>
      html`<i style="flex-grow:${value};--c:var(--${color})" title="${title}"></i>`,
  )}</span>`;
}
