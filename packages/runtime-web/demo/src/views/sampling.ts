// How answers are drawn: sliders with numbers beside them, the seed, the system prompt, stop texts.
import type { Controller } from '../controller.ts';
import { h } from '../dom.ts';
import { type NumberRange, RANGES } from '../settings.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';

export function createSamplingPanel(store: Store<State>, controller: Controller): HTMLElement {
  const seed = h('input', {
    id: 'seed',
    type: 'number',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    step: 1,
    placeholder: 'another each time',
    'aria-describedby': 'seed-hint',
    onchange: () => controller.changeSettings({ seed: seed.value === '' ? null : Number(seed.value) }),
  });
  const system = h('textarea', {
    id: 'system',
    rows: 3,
    'aria-describedby': 'system-hint',
    onchange: () => controller.changeSettings({ system: system.value }),
  });
  const systemHint = h('p', { id: 'system-hint', class: 'hint' });
  const stop = h('textarea', {
    id: 'stop',
    rows: 2,
    spellcheck: 'false',
    'aria-describedby': 'stop-hint',
    onchange: () => controller.changeSettings({ stop: stop.value }),
  });

  store.watch(
    ({ settings }) => settings,
    (settings) => {
      seed.value = settings.seed === null ? '' : String(settings.seed);
      system.value = settings.system;
      stop.value = settings.stop;
    },
  );
  store.watch(
    ({ model }) => model?.hasChatTemplate ?? true,
    (chats) => {
      system.disabled = !chats;
      systemHint.textContent = chats
        ? 'Goes before the conversation.'
        : 'This model has no chat template, so it takes no system prompt.';
    },
  );
  return h(
    'form',
    { class: 'sampling', onsubmit: (event: Event) => event.preventDefault() },
    h('h2', {}, 'Sampling'),
    ...RANGES.map((range) => createSlider(range, store, controller)),
    field(
      'seed',
      'Seed',
      seed,
      h('p', { id: 'seed-hint', class: 'hint' }, 'the same seed gives the same answer'),
    ),
    h('button', { type: 'button', onclick: () => controller.resetSettings() }, 'Reset to defaults'),
    h('h2', {}, 'Prompt'),
    field('system', 'System prompt', system, systemHint),
    field(
      'stop',
      'Stop texts',
      stop,
      h('p', { id: 'stop-hint', class: 'hint' }, 'one a line; an answer ends before it'),
    ),
  );
}

function field(id: string, name: string, input: HTMLElement, hint: HTMLElement): HTMLElement {
  return h('div', { class: 'setting' }, h('label', { for: id }, name), input, hint);
}

/** A slider, and a number for exact values; both say the same. */
function createSlider(range: NumberRange, store: Store<State>, controller: Controller): HTMLElement {
  const { name, label, hint, least, most, step } = range;
  const limits = { min: least, max: most, step };
  const change = (text: string): void => {
    controller.changeSettings({ [name]: text === '' ? undefined : Number(text) });
    // What is out of range is not taken, and the fields say what is.
    show();
  };
  const slider = h('input', {
    ...limits,
    type: 'range',
    id: `slide-${name}`,
    'aria-describedby': `hint-${name}`,
    oninput: () => change(slider.value),
  });
  const number = h('input', {
    ...limits,
    type: 'number',
    class: 'exact',
    'aria-label': `${label}, exactly`,
    onchange: () => change(number.value),
  });
  const show = (): void => {
    const value = String(store.state.settings[name]);
    slider.value = value;
    number.value = value;
  };
  store.watch(({ settings }) => settings[name], show);
  return h(
    'div',
    { class: 'setting slider' },
    h('label', { for: `slide-${name}` }, label),
    number,
    slider,
    h('p', { id: `hint-${name}`, class: 'hint' }, hint),
  );
}
