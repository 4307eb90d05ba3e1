// The four levels of a group on a line, with the one that a weight has, in numbers too.
import { h, replace } from '../dom.ts';
import { levelIndex, type WeightReading } from '../planes.ts';
import { formatLevel } from '../text.ts';

export interface LevelsView {
  readonly element: HTMLElement;
  show(reading: WeightReading): void;
}

/** What the two bits of each level are, least level first. */
const BITS = ['s 0 m 1', 's 0 m 0', 's 1 m 0', 's 1 m 1'] as const;

export function createLevels(): LevelsView {
  const scale = h('div', { class: 'scale', 'aria-hidden': 'true' });
  const table = h('div', { class: 'level-values' });
  const place = h('p', { class: 'figures', 'aria-live': 'polite' });
  return {
    element: h('div', { class: 'levels' }, place, scale, table),
    show({ row, column, group, sign, bitmap, levels }) {
      const chosen = levelIndex(sign, bitmap);
      const furthest = Math.max(...levels.map(Math.abs)) || 1;
      place.textContent = `row ${row}, column ${column}, group ${group}: sign ${sign}, bitmap ${bitmap}, weight ${formatLevel(levels[chosen])}`;
      replace(
        scale,
        ...levels.map((level, i) => {
          const tick = h('i', { class: `level-${i}${i === chosen ? ' chosen' : ''}` });
          tick.style.insetInlineStart = `${50 + (48 * level) / furthest}%`;
          return tick;
        }),
      );
      replace(
        table,
        ...levels.map((level, i) =>
          h(
            'div',
            { class: i === chosen ? 'chosen' : '' },
            h('i', { class: `level-${i}`, 'aria-hidden': 'true' }),
            h('span', {}, formatLevel(level)),
            h('span', { class: 'muted' }, BITS[i]),
          ),
        ),
      );
    },
  };
}
