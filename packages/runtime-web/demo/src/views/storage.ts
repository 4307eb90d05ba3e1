// Models that this browser keeps for the page: how much of each is there, and how to be rid of it.
import { type CachedModel, type CacheUsage, type ModelCache, openModelCache } from '@duobit/runtime-web';
import type { Controller } from '../controller.ts';
import { h, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { describeFailure, formatBytes } from '../text.ts';

export function createStoragePanel(store: Store<State>, controller: Controller): HTMLElement {
  const list = h('ul', { class: 'stored' });
  const total = h('p', { class: 'muted' });
  const message = h('p', { role: 'status' });
  const keep = h('button', { type: 'button', hidden: true }, 'Ask the browser to keep them');
  const panel = h(
    'div',
    { class: 'storage' },
    h('h2', {}, 'Stored models'),
    h(
      'p',
      { class: 'muted' },
      'Models from an address are kept in this browser, so that they load without the network. Files stay where they are.',
    ),
    message,
    list,
    total,
    keep,
  );

  const show = async (cache: ModelCache): Promise<void> => {
    const [models, usage] = await Promise.all([cache.list(), cache.usage()]);
    const persisted = (await navigator.storage.persisted?.()) ?? true;
    replace(list, ...models.map((model) => createEntry(cache, model)));
    total.textContent = models.length === 0 ? 'Nothing is stored.' : describeUsage(usage);
    keep.hidden = persisted || models.length === 0;
    keep.onclick = () =>
      attempt(async () => {
        const kept = await cache.persist();
        message.textContent = kept
          ? 'The browser keeps them.'
          : 'The browser does not promise it; it may remove them when space is short.';
        keep.hidden = true;
      });
  };
  const attempt = async (act: (cache: ModelCache) => Promise<void>): Promise<void> => {
    message.textContent = '';
    try {
      await act(await openModelCache());
    } catch (error) {
      const { message: text, remedy } = describeFailure(error);
      message.textContent = remedy ? `${text}. ${remedy}.` : text;
    }
  };
  const createEntry = (cache: ModelCache, model: CachedModel): HTMLElement => {
    const { id, name, url, bytes, totalBytes, complete, lastUsed } = model;
    const part = complete
      ? formatBytes(bytes)
      : `${formatBytes(bytes)} of ${formatBytes(totalBytes)}, the rest is fetched when it is loaded`;
    const remove = () =>
      attempt(async () => {
        await cache.remove(id);
        await show(cache);
        message.textContent = `${name} is removed.`;
        panel.querySelector<HTMLElement>('.stored button')?.focus();
      });
    return h(
      'li',
      {},
      h('p', { class: 'stored-name', title: url }, name),
      h(
        'p',
        { class: 'figures' },
        `${part}, used ${lastUsed.toLocaleDateString('en', { dateStyle: 'medium' })}`,
      ),
      h(
        'div',
        { class: 'actions' },
        h(
          'button',
          { type: 'button', 'aria-label': `Load ${name}`, onclick: () => controller.loadUrl(url) },
          'Load',
        ),
        h('button', { type: 'button', 'aria-label': `Remove ${name}`, onclick: remove }, 'Remove'),
      ),
    );
  };

  store.watch(
    // Looked at anew whenever it is shown, and when a model has come meanwhile.
    ({ panel: shown, model }) => (shown === 'storage' ? (model ?? 'none') : null),
    (looked) => {
      if (looked !== null) void attempt(show);
    },
  );
  return panel;
}

function describeUsage({ bytes, usage, quota }: CacheUsage): string {
  const models = `${formatBytes(bytes)} in models`;
  if (usage === null || quota === null) return `${models}.`;
  return `${models}; this site uses ${formatBytes(usage)} of ${formatBytes(quota)} that the browser allows.`;
}
