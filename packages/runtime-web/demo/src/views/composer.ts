// Where a message, or the beginning of a text, is written. Enter sends, Shift+Enter is a new line, Escape stops.
import type { Controller } from '../controller.ts';
import { h, part, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';

export function createComposer(store: Store<State>, controller: Controller): void {
  const input = h('textarea', {
    id: 'prompt',
    rows: 1,
    'aria-describedby': 'prompt-hint',
    autocomplete: 'off',
    onkeydown: (event: KeyboardEvent) => {
      // An input method takes its Enter for itself.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    },
    oninput: () => grow(),
  });
  const label = h('label', { for: 'prompt', class: 'visually-hidden' });
  const submit = h('button', { type: 'submit', class: 'primary' });
  const stop = h('button', { type: 'button', class: 'stop', onclick: () => controller.stop() }, 'Stop');
  const clear = h('button', { type: 'button', class: 'quiet', onclick: () => controller.clear() });
  const hint = h('p', { id: 'prompt-hint', class: 'hint' });
  const form = h(
    'form',
    {
      onsubmit: (event: Event) => {
        event.preventDefault();
        send();
      },
    },
    label,
    h('div', { class: 'field' }, input, submit, stop),
    h('div', { class: 'row' }, hint, clear),
  );
  replace(part('composer'), form);

  const send = (): void => {
    const { model, answering, turns } = store.state;
    const text = model?.hasChatTemplate ? input.value.trim() : input.value;
    if (!model || answering || (text === '' && (model.hasChatTemplate || turns.length === 0))) return;
    input.value = '';
    grow();
    void controller.send(text);
  };
  /** As high as its text, up to what the style sheet allows. */
  const grow = (): void => {
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight}px`;
  };

  store.watch(
    ({ model }) => model?.hasChatTemplate ?? true,
    (chats) => {
      const name = chats ? 'Message' : 'Text to continue';
      label.textContent = name;
      input.placeholder = name;
      submit.textContent = chats ? 'Send' : 'Continue';
      clear.textContent = chats ? 'New conversation' : 'New text';
      hint.textContent = chats
        ? 'Enter sends, Shift+Enter: new line'
        : 'Enter goes on, Shift+Enter: new line';
    },
  );
  store.watch(
    ({ model, loading }) => model !== null && loading === null,
    (ready) => {
      form.hidden = !ready;
      // Whoever waited for the model wants to write now, unless they are busy elsewhere.
      if (ready && (document.activeElement === document.body || document.activeElement === null))
        input.focus();
    },
  );
  store.watch(
    ({ answering }) => answering,
    (answering) => {
      // A button that goes away would take the focus with it.
      const hadFocus = form.contains(document.activeElement);
      submit.hidden = answering;
      stop.hidden = !answering;
      if (hadFocus) input.focus();
    },
  );
  store.watch(
    ({ turns }) => turns.length === 0,
    (empty) => {
      clear.disabled = empty;
    },
  );
}
