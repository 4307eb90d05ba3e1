// What the page has to say: notices that can be put away, and the latest failure.
import type { Controller } from '../controller.ts';
import { h, part, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';

/** Failures after which the model is not there any more. */
const GONE: readonly string[] = ['WORKER_LOST', 'BACKEND_DEVICE_LOST', 'MODEL_DISPOSED'];

export function createNotices(store: Store<State>, controller: Controller): void {
  const notices = h('div', { role: 'status' });
  const failure = h('div', { role: 'alert' });
  replace(part('notices'), failure, notices);
  store.watch(
    (state) => state.notices,
    (said) =>
      replace(
        notices,
        ...said
          .filter(({ dismissed }) => !dismissed)
          .map(({ line }) =>
            h(
              'div',
              { class: 'notice' },
              h('p', {}, line),
              h(
                'button',
                {
                  type: 'button',
                  class: 'quiet',
                  'aria-label': 'Dismiss',
                  onclick: () => controller.dismissNotice(line),
                },
                'Dismiss',
              ),
            ),
          ),
      ),
  );
  store.watch(
    (state) => state.failure,
    (found) =>
      replace(
        failure,
        found &&
          h(
            'div',
            { class: 'notice failed' },
            h(
              'div',
              {},
              h(
                'p',
                {},
                h('strong', {}, found.during === 'load' ? 'Not loaded: ' : 'No answer: '),
                found.message,
                '.',
              ),
              h('p', { class: 'muted' }, found.remedy && `${found.remedy}. `, h('code', {}, found.code)),
            ),
            (found.during === 'load' || GONE.includes(found.code)) &&
              h(
                'button',
                { type: 'button', onclick: () => controller.retry() },
                found.during === 'load' ? 'Try again' : 'Load again',
              ),
          ),
      ),
  );
}
