// The chat page: state, controller and views, put together.
import type { WorkerLoadOptions } from '@duobit/runtime-web';
import './styles/tokens.css';
import './styles/layout.css';
import './styles/parts.css';
import './styles/panels.css';
import { Controller } from './controller.ts';
import { h } from './dom.ts';
import { createEngine } from './engine.ts';
import { readSettings } from './settings.ts';
import { findStart } from './start.ts';
import type { State } from './state.ts';
import { createStore } from './store.ts';
import { createBitsPanel } from './views/bits.ts';
import { createComposer } from './views/composer.ts';
import { createHeader } from './views/header.ts';
import { createModelCard } from './views/model-card.ts';
import { createNotices } from './views/notices.ts';
import { listenForDrops } from './views/opener.ts';
import { createRunFacts } from './views/run-facts.ts';
import { createSamplingPanel } from './views/sampling.ts';
import { createStage } from './views/stage.ts';
import { createStoragePanel } from './views/storage.ts';
import { createTabs } from './views/tabs.ts';

const query = new URLSearchParams(location.search);
/** `?backend=`, `?kv=` and `?context=` are for trying things; the model says what is wrong with a value. */
function readOptions(): WorkerLoadOptions {
  const backend = query.get('backend') as WorkerLoadOptions['backend'];
  const kv = query.get('kv') as WorkerLoadOptions['kv'];
  const context = query.get('context');
  return {
    ...(backend && { backend }),
    ...(kv && { kv }),
    ...(context && { contextLength: Number(context) }),
  };
}

const engine = createEngine(query.get('thread') === 'main' ? 'main' : 'worker');
const store = createStore<State>({
  card: null,
  asked: null,
  loading: null,
  model: null,
  failure: null,
  turns: [],
  answering: false,
  speed: { prefill: null, decode: null },
  notices: [],
  settings: readSettings(),
  prompts: [],
  panel: 'chat',
});
const controller = new Controller(store, engine, readOptions());

createHeader(store, controller);
createTabs(store, controller, {
  model: h('div', {}, createRunFacts(store, engine.thread), createModelCard(store)),
  sampling: createSamplingPanel(store, controller),
  bits: createBitsPanel(store, controller),
  storage: createStoragePanel(store, controller),
});
createNotices(store, controller);
createStage(store, controller);
createComposer(store, controller);
listenForDrops(controller);
document.addEventListener('keydown', (event) => {
  // In a dialog it closes that.
  if (event.key === 'Escape' && !document.querySelector('dialog[open]')) controller.escape();
});
await controller.start(await findStart(query));
