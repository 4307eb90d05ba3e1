// How the model runs here: on what and why not on something else, how fast, and in how much memory.
import { facts, h, replace } from '../dom.ts';
import { kvCacheBytes } from '../engine.ts';
import { measureScripts, readHeap, type ScriptMemory } from '../memory.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { formatBytes, formatNumber } from '../text.ts';

/** @param thread where the model runs */
export function createRunFacts(store: Store<State>, thread: 'worker' | 'main'): HTMLElement {
  const content = h('div', {});
  let memory: ScriptMemory | null = null;
  const show = (): void => {
    const { model, notices } = store.state;
    if (!model) {
      replace(content);
      return;
    }
    const { architecture, threads, kv, contextLength, weightBytes } = model;
    const cacheBytes = kvCacheBytes(architecture, contextLength, kv);
    replace(
      content,
      h('h2', {}, 'Run'),
      facts([
        ['Use', model.hasChatTemplate ? 'chat' : 'continues texts (it has no chat template)'],
        ['Backend', model.backendName],
        ['Variant', model.instructionSet && describeVariant(model.instructionSet)],
        ['Threads', model.backendName === 'wasm' && describeThreads(threads)],
        ['Runs in', thread === 'worker' ? 'a worker' : "the page's own thread"],
        ['Weights', formatBytes(weightBytes)],
        ['KV cache', `${formatBytes(cacheBytes)}, ${kv}, ${formatNumber(contextLength)} tokens`],
        ['JavaScript', memory ? `${formatBytes(memory.bytes)}, ${memory.of}` : 'this browser does not tell'],
        ...notices.map(({ line }) => ['Notice', line] as const),
      ]),
    );
  };
  const measure = async (): Promise<void> => {
    memory = readHeap();
    show();
    memory = (await measureScripts()) ?? memory;
    show();
  };
  store.watch(({ model }) => model, show);
  store.watch(({ notices }) => notices, show);
  // What an answer left behind is of interest, not what it took on the way.
  store.watch(
    ({ model, answering }) => (answering ? null : model),
    (idle) => {
      if (idle) void measure();
    },
  );
  return content;
}

/** What kernels can be chosen for, by their names in a variant (`nameVariant` of the runtime). */
const FEATURES: readonly (readonly [name: string, meaning: string])[] = [
  ['dot', 'packed dot products'],
  ['subgroups', 'subgroups'],
  ['f16', 'f16 arithmetic'],
];

/** 'packed dot products, subgroups; this device has no f16 arithmetic'. */
function describeVariant(variant: string): string {
  const names = variant.split('+');
  const meanings = (has: boolean) =>
    FEATURES.filter(([name]) => names.includes(name) === has).map(([, meaning]) => meaning);
  const used = meanings(true).join(', ') || 'plain';
  const missing = meanings(false).join(', ');
  return missing ? `${used}; this device has no ${missing}` : used;
}

function describeThreads(threads: number): string {
  if (threads > 1 || crossOriginIsolated) return String(threads);
  return 'one: the server does not send the headers (COOP, COEP) that shared memory needs';
}
