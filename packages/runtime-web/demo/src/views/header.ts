// The top of the page: the name of the model, what runs it and how fast, and the colour scheme.
import type { Controller } from '../controller.ts';
import { h, part, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { formatNumber } from '../text.ts';
import { applyTheme, nextTheme, readTheme, type Theme } from '../theme.ts';
import { createOpener } from './opener.ts';

const THEME_NAMES: Readonly<Record<Theme, string>> = { auto: 'Auto', light: 'Light', dark: 'Dark' };

export function createHeader(store: Store<State>, controller: Controller): void {
  const name = h('h1', { class: 'model-name' });
  const chooser = createChooser(store, controller);
  const change = h(
    'button',
    { type: 'button', class: 'quiet', 'aria-haspopup': 'dialog', onclick: () => chooser.showModal() },
    'Change',
  );
  document.body.append(chooser);
  const backend = h('dd');
  const prefill = h('dd');
  const decode = h('dd');
  const instrument = (label: string, value: HTMLElement, unit: string) =>
    h('div', {}, h('dt', {}, label), value, unit && h('span', { class: 'unit' }, unit));
  const instruments = h(
    'dl',
    { class: 'instruments' },
    instrument('backend', backend, ''),
    instrument('prefill', prefill, 'tok/s'),
    instrument('decode', decode, 'tok/s'),
  );
  replace(
    part('top'),
    h('span', { class: 'brand' }, h('span', { class: 'mark', 'aria-hidden': 'true' }, ...levels()), 'Duobit'),
    name,
    change,
    instruments,
    createThemeButton(),
  );

  store.watch(
    ({ card, asked, loading }) => card?.name ?? (loading ? asked?.name : undefined),
    (source) => {
      const shown = source?.replace(/\.duo$/, '');
      name.textContent = shown ?? 'No model';
      name.title = source ?? '';
      document.title = shown ? `${shown} \u00b7 Duobit` : 'Duobit';
    },
  );
  store.watch(
    ({ model }) => model,
    (model) => {
      instruments.hidden = !model;
      change.hidden = !model;
      backend.textContent = model?.backendName ?? '';
    },
  );
  store.watch(
    ({ speed }) => speed,
    ({ prefill: before, decode: after }) => {
      prefill.textContent = showRate(before);
      decode.textContent = showRate(after);
    },
  );
}

/** A dialog to load another model; the keyboard's way to what a drop does. */
function createChooser(store: Store<State>, controller: Controller): HTMLDialogElement {
  const dialog: HTMLDialogElement = h(
    'dialog',
    { 'aria-labelledby': 'chooser-title' },
    h(
      'div',
      { class: 'row' },
      h('h2', { id: 'chooser-title' }, 'Load another model'),
      h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close() }, 'Close'),
    ),
    createOpener(controller),
  );
  store.watch(
    ({ loading }) => loading !== null,
    (isLoading) => isLoading && dialog.close(),
  );
  return dialog;
}

function levels(): HTMLElement[] {
  return [0, 1, 2, 3].map((level) => h('i', { class: `level-${level}` }));
}

function showRate(rate: number | null): string {
  return rate === null ? '\u2013' : formatNumber(rate, rate < 10 ? 1 : 0);
}

function createThemeButton(): HTMLElement {
  let theme = readTheme();
  const button = h('button', { type: 'button', class: 'quiet theme', onclick: () => turn(nextTheme(theme)) });
  const turn = (next: Theme): void => {
    theme = next;
    applyTheme(theme);
    replace(button, h('span', {}, THEME_NAMES[theme]));
    button.setAttribute('aria-label', `Colours: ${THEME_NAMES[theme]}`);
  };
  turn(theme);
  return button;
}
