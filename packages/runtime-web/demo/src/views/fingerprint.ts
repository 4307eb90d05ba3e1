// A model's fingerprint: the SHA-256 of its header as 128 cells of two bits, in the colours of the four levels. It is the card's
// mark, and the progress bar while the model comes in.
import { fromHex } from '@duobit/format';
import { h } from '../dom.ts';

const CELLS = 128;

/** @param sha256 hex; null where it is not known yet: cells without a colour of their own */
export function createFingerprint(sha256: string | null, className: string): HTMLElement {
  const bytes = sha256 === null ? null : fromHex(sha256);
  const cells = Array.from({ length: CELLS }, (_, i) => {
    const level = bytes ? (bytes[i >> 2]! >> (2 * (i & 3))) & 3 : null;
    return h('i', { class: level === null ? '' : `level-${level}` });
  });
  return h('span', { class: `fingerprint ${className}`, 'aria-hidden': 'true' }, ...cells);
}

/** Shows the first part of a fingerprint, in columns of `rows` cells, as done. */
export function revealFingerprint(fingerprint: HTMLElement, share: number, rows: number): void {
  const columns = CELLS / rows;
  const done = Math.floor(share * columns);
  for (const [i, cell] of Array.from(fingerprint.children).entries())
    cell.classList.toggle('waiting', i % columns >= done);
}
