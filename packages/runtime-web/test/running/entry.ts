// What tests call in the page: a model on the page's own thread or in a worker, what it writes, and the ways in which that ends.
import { loadModel, loadModelInWorker, type WorkerLoadOptions, type WorkerModel } from '@duobit/runtime-web';
import { countBuffers, loseDevices, watchGpu } from './gpu-watch.ts';

export interface LoadRequest extends Omit<WorkerLoadOptions, 'signal' | 'onProgress' | 'onNotice'> {
  readonly where: 'page' | 'worker';
  readonly from?: string;
  /** Path of the worker's script. */
  readonly script?: string;
}

interface Loaded {
  readonly model: WorkerModel;
  readonly notices: string[];
}

const PROMPT = 'Once upon a time';
const models = new Map<number, Loaded>();
let worker: Worker | null = null;

const errorOf = (error: unknown) => {
  const { name, code, message, where, remedy } = error as Record<string, string | undefined>;
  return { name, code, message, where, remedy };
};

export interface Written {
  readonly tokens: number[];
  readonly text: string;
  readonly reason: string | null;
  readonly error: ReturnType<typeof errorOf> | null;
}

export const actions = {
  async load({ where, from = 'embedded.duo', script = 'worker.js', ...options }: LoadRequest) {
    const notices: string[] = [];
    const listeners = { onNotice: (line: string) => notices.push(line) };
    worker ??= where === 'worker' ? new Worker(script, { type: 'module' }) : null;
    const all = { cache: 'none', ...options, ...listeners } as const;
    try {
      const model = await (where === 'page' ? loadModel(from, all) : loadModelInWorker(worker!, from, all));
      const id = models.size + 1;
      models.set(id, { model, notices });
      const { backendName, threads, instructionSet, name } = model;
      return { id, backendName, threads, instructionSet, name, notices, error: null };
    } catch (error) {
      return { id: 0, notices, error: errorOf(error) };
    }
  },

  /** Writes on, and at a number of tokens does one of the things that can happen. */
  async write({
    id,
    at = 0,
    event = 'nothing',
    ...options
  }: {
    readonly id: number;
    readonly at?: number;
    readonly event?: 'nothing' | 'abort' | 'leave' | 'lose devices' | 'end worker';
    readonly maxTokens?: number;
    readonly temperature?: number;
    readonly topK?: number;
    readonly seed?: number;
  }): Promise<Written> {
    const controller = new AbortController();
    const { signal } = controller;
    const tokens: number[] = [];
    let text = '';
    let reason: string | null = null;
    try {
      const generating = models.get(id)!.model.generate(PROMPT, { ignoreEos: true, signal, ...options });
      for await (const one of generating) {
        text += one.text;
        if (one.kind === 'finish') reason = one.reason;
        else tokens.push(one.token);
        if (tokens.length !== at || one.kind === 'finish') continue;
        if (event === 'abort') controller.abort();
        if (event === 'leave') break;
        if (event === 'lose devices') {
          worker?.postMessage(event);
          loseDevices();
        }
        if (event === 'end worker') worker?.terminate();
      }
      return { tokens, text, reason, error: null };
    } catch (error) {
      return { tokens, text, reason, error: errorOf(error) };
    }
  },

  /** Chunks of an answer, streamed. */
  async chat({ id, content }: { readonly id: number; readonly content: string }) {
    const request = { messages: [{ role: 'user', content }], temperature: 0, max_tokens: 12 } as const;
    const { completions } = models.get(id)!.model.chat;
    const whole = await completions.create(request);
    let streamed = '';
    for await (const { choices } of await completions.create({ ...request, stream: true }))
      streamed += choices[0]?.delta.content ?? '';
    return { whole: whole.choices[0]!.message.content, streamed, usage: whole.usage };
  },

  notices: async (id: number) => models.get(id)!.notices,

  dispose: async (id: number) => models.get(id)!.model.dispose(),

  /** Of the page and its worker. */
  async buffers(): Promise<number> {
    const inWorker = worker
      ? new Promise<number>((resolve) => {
          worker!.addEventListener('message', ({ data }) => resolve(data), { once: true });
          worker!.postMessage('count buffers');
        })
      : 0;
    return countBuffers() + (await inWorker);
  },

  isIsolated: async () => crossOriginIsolated,
};

export type Actions = typeof actions;

watchGpu();
Object.assign(globalThis, { actions });
