// How the model runs here: on what and why not on something else, how fast, and in how much memory.
import { facts, h, replace } from '../dom.ts';
import { kvCacheBytes } from '../engine.ts';
import { measureScriptMemory } from '../memory.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { formatBytes, formatNumber } from '../text.ts';

/** @param thread where the model runs */
export function createRunFacts(store: Store<State>, thread: 'worker' | 'main'): HTMLElement {
  const content = h('div', {});
  let memory = 'measuring \u2026';
  const show = (): void => {
    const { model } = store.state;
    if (!model) {
      replace(content);
      return;
    }
    const { architecture, backendName, threads, kv, contextLength, weightBytes } = model;
    replace(
      content,
      h('h2', {}, 'Run'),
      facts([
        [
          'Backend',
          backendName === 'wasm' ? `wasm, ${threads} ${threads === 1 ? 'thread' : 'threads'}` : backendName,
        ],
        ['Runs in', thread === 'worker' ? 'a worker' : "the page's own thread"],
        ['Threads', backendName === 'wasm' && threads === 1 && !crossOriginIsolated && NOT_ISOLATED],
        ['Weights', formatBytes(weightBytes)],
        [
          'KV cache',
          `${formatBytes(kvCacheBytes(architecture, contextLength, kv))}, ${kv}, ${formatNumber(contextLength)} tokens`,
        ],
        ['JavaScript', memory],
      ]),
    );
  };
  const measure = async (): Promise<void> => {
    const found = await measureScriptMemory();
    memory = found ? `${formatBytes(found.bytes)}, ${found.of}` : 'this browser does not tell';
    show();
  };
  store.watch(({ model }) => model, show);
  // What an answer left behind is of interest, not what it took on the way.
  store.watch(
    ({ model, answering }) => (answering ? null : model),
    (idle) => {
      if (idle) void measure();
    },
  );
  return content;
}

const NOT_ISOLATED =
  'one, as the page is not cross-origin isolated: its server does not send the headers that shared memory needs';
