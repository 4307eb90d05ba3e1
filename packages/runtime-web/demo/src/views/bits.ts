// The bits of a tensor as pixels: sign and bitmap, or the level that both choose. A weight under the pointer, or the one that the
// arrow keys have gone to, is read out with the four levels of its group.
import type { ModelCard } from '../card.ts';
import type { Controller } from '../controller.ts';
import { h, replace } from '../dom.ts';
import { type BitPlanes, type PlaneView, readWeight, shareOfOnes } from '../planes.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { describeFailure, formatNumber } from '../text.ts';
import { createBitCanvas } from './bit-canvas.ts';
import { createLevels } from './levels.ts';

const VIEWS: readonly (readonly [PlaneView, string])[] = [
  ['levels', 'Levels'],
  ['sign', 'Sign'],
  ['bitmap', 'Bitmap'],
];

export function createBitsPanel(store: Store<State>, controller: Controller): HTMLElement {
  const tensors = h('select', { id: 'tensor', onchange: () => void choose(tensors.value) });
  const facts = h('p', { class: 'figures' });
  const levels = createLevels();
  const canvas = createBitCanvas((planes, row, column) => levels.show(readWeight(planes, row, column)));
  const views = h(
    'fieldset',
    { class: 'segmented' },
    h('legend', { class: 'visually-hidden' }, 'What is drawn'),
    ...VIEWS.map(([view, name]) =>
      h(
        'label',
        {},
        h('input', {
          type: 'radio',
          name: 'plane',
          class: 'visually-hidden',
          checked: view === 'levels',
          onchange: () => canvas.setView(view),
        }),
        h('span', {}, name),
      ),
    ),
  );
  const viewer = h(
    'div',
    { class: 'viewer' },
    h('div', { class: 'plane-tools' }, views, canvas.zoom),
    canvas.element,
    levels.element,
    facts,
  );
  const message = h('p', { class: 'muted' });
  const panel = h(
    'div',
    { class: 'bits' },
    h('h2', {}, 'Bits'),
    message,
    h('div', { class: 'setting' }, h('label', { for: 'tensor' }, 'Tensor'), tensors),
    viewer,
  );

  /** Grows with every choice, so that what came too late is not shown. */
  let turn = 0;
  const choose = async (name: string): Promise<void> => {
    const mine = ++turn;
    viewer.hidden = true;
    message.textContent = 'Reading \u2026';
    try {
      const planes = await controller.readPlanes(name);
      if (mine !== turn) return;
      message.textContent = '';
      viewer.hidden = false;
      facts.textContent = describePlanes(planes);
      canvas.show(planes);
    } catch (error) {
      if (mine === turn) message.textContent = describeFailure(error).message;
    }
  };

  let listed: ModelCard | null = null;
  store.watch(
    // Planes are read when somebody looks, not along with the model.
    ({ card, model, panel: shown }) => (shown === 'bits' ? model && card : undefined),
    (card) => {
      if (card === undefined || (card === listed && card !== null)) return;
      listed = card;
      turn++;
      const names = card?.bitTensors ?? [];
      viewer.hidden = true;
      tensors.parentElement!.hidden = names.length === 0;
      message.textContent = card
        ? names.length === 0
          ? 'No tensor of this model has bit planes.'
          : ''
        : 'The bits of a model are shown here once there is one.';
      replace(tensors, ...names.map((name) => h('option', { value: name }, shorten(name))));
      if (names[0] !== undefined) void choose(names[0]);
    },
  );
  return panel;
}

function describePlanes({ rows, columns, groupSize, sign, bitmap }: BitPlanes): string {
  const percent = (plane: Uint8Array) => `${formatNumber(100 * shareOfOnes(plane, rows * columns), 1)} %`;
  return `${formatNumber(rows)} rows of ${formatNumber(columns)}, groups of ${groupSize}; ones: sign ${percent(sign)}, bitmap ${percent(bitmap)}`;
}

/** Without what all names have in common. */
function shorten(name: string): string {
  return name.replace(/^model\./, '').replace(/\.weight$/, '');
}
