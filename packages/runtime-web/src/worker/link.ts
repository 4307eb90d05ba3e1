// The page's end of a model's port: hands answers to those who wait for them, and one error to all of them when the worker is gone.
import type { GenerationEvent } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import {
  type Answer,
  type Call,
  fromErrorForm,
  type ModelFacts,
  type WorkerLoadOptions,
} from './protocol.ts';

/** What is needed of a Worker. */
export type WorkerLike = Pick<Worker, 'postMessage' | 'addEventListener' | 'removeEventListener'>;

type Listeners = Pick<WorkerLoadOptions, 'onProgress' | 'onNotice'>;

export class Link {
  readonly #worker: WorkerLike;
  readonly #port: MessagePort;
  readonly #loaded = newPromise<ModelFacts>();
  readonly #disposed = newPromise<void>();
  readonly #streams = new Map<number, Inbox>();
  readonly #watch = new AbortController();
  #lastStream = 0;
  #lost: DuobitError | null = null;

  constructor(worker: WorkerLike, port: MessagePort, listeners: Listeners) {
    this.#worker = worker;
    this.#port = port;
    // Whoever waits is told; nobody may.
    this.#loaded.promise.catch(() => {});
    this.#disposed.promise.catch(() => {});
    worker.addEventListener('error', this.#onError);
    port.onmessage = ({ data }: MessageEvent<Answer>) => this.#take(data, listeners);
  }

  /** @throws DuobitError what `loadModel` throws in the worker; `WORKER_LOST` */
  get loaded(): Promise<ModelFacts> {
    return this.#loaded.promise;
  }

  /** @throws DuobitError `WORKER_LOST` */
  check(): void {
    if (this.#lost) throw this.#lost;
  }

  call(call: Call): void {
    this.#port.postMessage(call);
  }

  openStream(): { readonly id: number; readonly inbox: Inbox } {
    const id = ++this.#lastStream;
    const inbox = new Inbox();
    this.#streams.set(id, inbox);
    return { id, inbox };
  }

  /** Nothing is left to free where the worker is gone. */
  async dispose(): Promise<void> {
    if (this.#lost) return;
    this.call({ kind: 'dispose' });
    await this.#disposed.promise;
  }

  close(): void {
    this.#watch.abort();
    this.#worker.removeEventListener('error', this.#onError);
    this.#port.close();
  }

  #take(answer: Answer, { onProgress, onNotice }: Listeners): void {
    switch (answer.kind) {
      case 'alive':
        this.#watchLock(answer.lock);
        break;
      case 'progress':
        onProgress?.(answer.progress);
        break;
      case 'notice':
        onNotice?.(answer.line);
        break;
      case 'loaded':
        this.#loaded.resolve(answer.facts);
        break;
      case 'not loaded':
        this.#loaded.reject(fromErrorForm(answer.error));
        break;
      case 'event':
        this.#streams.get(answer.stream)?.push(answer.event);
        break;
      case 'end':
        this.#streams.get(answer.stream)?.end(answer.error && fromErrorForm(answer.error));
        this.#streams.delete(answer.stream);
        break;
      case 'disposed':
        this.close();
        if (answer.error) this.#disposed.reject(fromErrorForm(answer.error));
        else this.#disposed.resolve();
    }
  }

  /** A worker leaves its lock when it ends, however that comes; the page gets it then. */
  #watchLock(name: string | null): void {
    const { locks } = globalThis.navigator ?? {};
    if (name === null || !locks) return;
    const { signal } = this.#watch;
    const wait = locks.request(name, { signal, mode: 'shared' }, () => this.#fail('the worker ended'));
    // Rejected when the link is closed.
    wait.catch(() => {});
  }

  readonly #onError = (event: Event): void => {
    const { message } = event as Partial<ErrorEvent>;
    this.#fail(message ? `the worker failed: ${message}` : 'the script of the worker cannot be loaded');
  };

  #fail(message: string): void {
    const error = new DuobitError('WORKER_LOST', message, {
      where: 'worker',
      remedy: 'Start another worker and load the model again',
    });
    this.#lost = error;
    this.close();
    this.#loaded.reject(error);
    this.#disposed.resolve();
    for (const inbox of this.#streams.values()) inbox.end(error);
    this.#streams.clear();
  }
}

/** The events of a generation that have come and were not taken: at most as many as the worker may be ahead. */
export class Inbox {
  readonly #events: GenerationEvent[] = [];
  readonly #ended = newPromise<void>();
  #isEnded = false;
  #error: Error | null = null;
  #wake: (() => void) | null = null;

  /** Resolves when no more events will come. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  push(event: GenerationEvent): void {
    this.#events.push(event);
    this.#wake?.();
  }

  end(error: Error | null): void {
    this.#isEnded = true;
    this.#error = error;
    this.#ended.resolve();
    this.#wake?.();
  }

  /** The next event; null behind the last one. */
  async take(): Promise<GenerationEvent | null> {
    while (this.#events.length === 0) {
      if (this.#error) throw this.#error;
      if (this.#isEnded) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#events.shift()!;
  }
}

function newPromise<T>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
} {
  let settle!: [(value: T) => void, (error: unknown) => void];
  const promise = new Promise<T>((...functions) => {
    settle = functions;
  });
  return { promise, resolve: settle[0], reject: settle[1] };
}
