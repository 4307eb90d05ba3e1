// A model on its way: bytes so far, how fast they come, and a way to call it off.
import type { Controller } from '../controller.ts';
import { h, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { formatBytes } from '../text.ts';
import { createFingerprint, revealFingerprint } from './fingerprint.ts';

const ROWS = 4;

export function createProgress(store: Store<State>, controller: Controller): HTMLElement {
  const title = h('h2', { id: 'loading-title' });
  const bar = h('div', {
    role: 'progressbar',
    'aria-labelledby': 'loading-title',
    'aria-valuemin': 0,
    'aria-valuemax': 100,
  });
  const bytes = h('p', { class: 'figures' });
  let fingerprint = createFingerprint(null, '');

  store.watch(
    ({ asked }) => asked,
    (asked) => {
      title.textContent = `Loading ${asked?.name ?? ''}`;
    },
  );
  store.watch(
    ({ card }) => card?.manifest.headerSha256 ?? null,
    (sha256) => {
      fingerprint = createFingerprint(sha256, 'wide');
      replace(bar, fingerprint);
    },
  );
  store.watch(
    ({ loading }) => loading,
    (loading) => {
      const { progress = null, since = 0 } = loading ?? {};
      const share = progress ? Math.min(1, progress.bytes / progress.totalBytes) : 0;
      revealFingerprint(fingerprint, share, ROWS);
      bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
      if (!progress) {
        bytes.textContent = 'Opening \u2026';
        return;
      }
      const seconds = (performance.now() - since) / 1000;
      const rate = seconds > 0.5 ? `, ${formatBytes(progress.bytes / seconds)}/s` : '';
      bytes.textContent = `${formatBytes(progress.bytes)} of ${formatBytes(progress.totalBytes)}${rate}`;
    },
  );
  return h(
    'section',
    { class: 'loading' },
    title,
    bar,
    h(
      'div',
      { class: 'row' },
      bytes,
      h('button', { type: 'button', onclick: () => controller.cancelLoad() }, 'Cancel'),
    ),
  );
}
