// The worker's side: loads the models that a page asks for, and generates.
import type { Grammars } from '@duobit/core';
import { loadModel } from '../load-model.ts';
import type { WorkerModel } from '../web-model.ts';
import {
  type Answer,
  type Call,
  disposedError,
  type ErrorForm,
  type LoadMessage,
  MOST_AHEAD,
  type ModelFacts,
  toErrorForm,
  type WorkerLoadOptions,
} from './protocol.ts';

/** `loadModel`, or what stands in for it in tests. */
export type Load = (from: string | Blob, options: WorkerLoadOptions) => Promise<WorkerModel>;

/** Options of `serveModels`. */
export interface ServeOptions {
  readonly load?: Load | undefined;
  /** For generation with a `grammar`. */
  readonly grammars?: Grammars | undefined;
}

/**
 * Loads and runs models in this worker for `loadModelInWorker`.
 * @param scope the worker's global scope, whose other messages are left alone
 */
export function serveModels(
  scope: Pick<EventTarget, 'addEventListener'>,
  { load = loadModel, grammars }: ServeOptions = {},
): void {
  let lock: Promise<string | null> | null = null;
  scope.addEventListener('message', (event) => {
    const { data, ports } = event as MessageEvent<Partial<LoadMessage> | null>;
    const [port] = ports;
    if (data?.duobit !== 'load' || !port) return;
    lock ??= holdLock();
    void lock.then((name) => {
      serveModel(port, name, data as LoadMessage, load, grammars);
    });
  });
}

/** Takes a lock that goes when the worker does, by which pages learn of it: a worker's end is no event. */
function holdLock(): Promise<string | null> {
  const { locks } = globalThis.navigator ?? {};
  if (!locks) return Promise.resolve(null);
  const name = `duobit-worker-${Array.from(crypto.getRandomValues(new Uint32Array(4))).join('-')}`;
  return new Promise((resolve) => {
    const held = locks.request(name, () => {
      resolve(name);
      return new Promise(() => {});
    });
    held.catch(() => resolve(null));
  });
}

function serveModel(
  port: MessagePort,
  lock: string | null,
  { from, options }: LoadMessage,
  load: Load,
  grammars: Grammars | undefined,
): void {
  const loading = new AbortController();
  const streams = new Map<number, Stream>();
  let isDisposed = false;
  const answer = (message: Answer): void => port.postMessage(message);

  answer({ kind: 'alive', lock });
  const loaded = load(from, {
    ...options,
    signal: loading.signal,
    onProgress: (progress) => answer({ kind: 'progress', progress }),
    onNotice: (line) => answer({ kind: 'notice', line }),
  });
  loaded.then(
    (model) => answer({ kind: 'loaded', facts: { ...factsOf(model), hasGrammars: grammars !== undefined } }),
    (error) => {
      answer({ kind: 'not loaded', error: toErrorForm(error) });
      port.close();
    },
  );

  const generate = async (call: Extract<Call, { kind: 'generate' }>): Promise<void> => {
    const { stream: id, prompt, isAborted } = call;
    const stream = new Stream();
    streams.set(id, stream);
    if (isAborted) stream.abort();
    let failure: ErrorForm | null = null;
    try {
      const { signal } = stream.controller;
      for await (const event of (await loaded).generate(prompt, { ...call.options, grammars, signal })) {
        if (stream.isLeft) break;
        answer({ kind: 'event', stream: id, event });
        await stream.sent();
      }
    } catch (error) {
      failure = toErrorForm(error);
    }
    streams.delete(id);
    stream.finish();
    if (isDisposed) failure = toErrorForm(disposedError());
    answer({ kind: 'end', stream: id, error: failure });
  };

  const dispose = async (): Promise<void> => {
    isDisposed = true;
    const open = [...streams.values()];
    for (const stream of open) stream.leave();
    let failure: ErrorForm | null = null;
    try {
      // First, as it ends what streams may wait for.
      await (await loaded).dispose();
      await Promise.all(open.map(({ finished }) => finished));
    } catch (error) {
      failure = toErrorForm(error);
    }
    answer({ kind: 'disposed', error: failure });
    port.close();
  };

  port.onmessage = ({ data }: MessageEvent<Call>) => {
    switch (data.kind) {
      case 'stop loading':
        return loading.abort();
      case 'generate':
        return void generate(data);
      case 'taken':
        return streams.get(data.stream)?.taken(data.count);
      case 'abort':
        return streams.get(data.stream)?.abort();
      case 'leave':
        return streams.get(data.stream)?.leave();
      case 'dispose':
        return void dispose();
    }
  };
}

/** One generation: how far it is ahead of the page, and how it is ended. */
class Stream {
  readonly controller = new AbortController();
  readonly finished: Promise<void>;
  finish!: () => void;
  isLeft = false;
  #ahead = 0;
  #goOn: (() => void) | null = null;

  constructor() {
    this.finished = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  /** Counts an event; resolves when there may be another. */
  sent(): Promise<void> | undefined {
    this.#ahead++;
    // What comes after an abort is the end, and that is not held back.
    if (this.#ahead < MOST_AHEAD || this.controller.signal.aborted) return undefined;
    return new Promise((resolve) => {
      this.#goOn = resolve;
    });
  }

  taken(count: number): void {
    this.#ahead -= count;
    if (this.#ahead < MOST_AHEAD) this.#wake();
  }

  abort(): void {
    this.controller.abort();
    this.#wake();
  }

  leave(): void {
    this.isLeft = true;
    this.abort();
  }

  #wake(): void {
    this.#goOn?.();
    this.#goOn = null;
  }
}

/** What can be copied of a model; a getter is not, unless it is named. */
function factsOf(model: WorkerModel): Omit<ModelFacts, 'hasGrammars'> {
  const { name, architecture, specialTokens, contextLength, backendName, instructionSet } = model;
  const { threads, kv, weightBytes, hasTokenizer, hasChatTemplate } = model;
  return {
    ...{ name, architecture, specialTokens, contextLength, backendName, instructionSet },
    ...{ threads, kv, weightBytes, hasTokenizer, hasChatTemplate },
  };
}
