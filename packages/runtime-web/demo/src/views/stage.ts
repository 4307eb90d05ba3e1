// The middle of the page: a way in where there is no model, progress while one comes, and the conversation.
import type { Controller } from '../controller.ts';
import { h, part, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { createConversation } from './conversation.ts';
import { createOpener } from './opener.ts';
import { createProgress } from './progress.ts';

export function createStage(store: Store<State>, controller: Controller): void {
  const welcome = h(
    'section',
    { class: 'welcome' },
    h('h2', {}, 'Two bits a weight,', h('br'), 'in this tab.'),
    h(
      'p',
      { class: 'lead' },
      'A Duobit file is a language model with a sign bit and a bitmap bit for every weight. It is loaded piece by piece and runs here; nothing you write leaves your device.',
    ),
    createOpener(controller),
  );
  const progress = createProgress(store, controller);
  const conversation = createConversation(store, controller);
  replace(part('stage'), welcome, progress, conversation);
  store.watch(
    ({ model, loading }) => (loading ? 'loading' : model ? 'ready' : 'empty'),
    (phase) => {
      welcome.hidden = phase !== 'empty';
      progress.hidden = phase !== 'loading';
      conversation.hidden = phase !== 'ready';
    },
  );
}
