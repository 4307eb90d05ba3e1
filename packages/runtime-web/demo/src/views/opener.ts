// Choosing a model: a file from the device, read by ranges where it lies, or an address.
import type { Controller } from '../controller.ts';
import { h, part } from '../dom.ts';

/** A form for an address and a button for a file. */
export function createOpener(controller: Controller): HTMLElement {
  const picker = h('input', {
    type: 'file',
    accept: '.duo',
    class: 'visually-hidden',
    tabindex: '-1',
    'aria-hidden': 'true',
    onchange: () => {
      const file = picker.files?.[0];
      // The same file may be chosen again.
      picker.value = '';
      if (file) void controller.loadFile(file);
    },
  });
  const address = h('input', {
    type: 'text',
    inputmode: 'url',
    name: 'address',
    class: 'address',
    placeholder: 'https://\u2026/model.duo',
    'aria-label': 'Address of a model',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  return h(
    'div',
    { class: 'opener' },
    h('button', { type: 'button', class: 'primary', onclick: () => picker.click() }, 'Choose a .duo file'),
    picker,
    h(
      'form',
      {
        class: 'address-form',
        onsubmit: (event: Event) => {
          event.preventDefault();
          const text = address.value.trim();
          if (text !== '') void controller.loadUrl(text);
        },
      },
      address,
      h('button', { type: 'submit' }, 'Load'),
    ),
    h('p', { class: 'muted' }, 'Or drop a file anywhere on this page.'),
  );
}

/** A file dropped anywhere on the page is loaded. */
export function listenForDrops(controller: Controller): void {
  const veil = part('veil');
  const hasFile = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false;
  const show = (event: DragEvent): void => {
    if (!hasFile(event)) return;
    // Without this a browser opens the file itself.
    event.preventDefault();
    veil.hidden = false;
  };
  document.addEventListener('dragenter', show);
  document.addEventListener('dragover', show);
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  document.addEventListener('drop', (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    veil.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (file) void controller.loadFile(file);
  });
}
