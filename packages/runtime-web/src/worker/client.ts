// Models in a worker, for a page, as if they were on its own thread.
import {
  checkGenerateOptions,
  createChatCompletions,
  type GenerateOptions,
  type GenerationEvent,
  type Prompt,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import type { WorkerModel } from '../web-model.ts';
import { type Inbox, Link, type WorkerLike } from './link.ts';
import {
  disposedError,
  type LoadMessage,
  MOST_AHEAD,
  type ModelFacts,
  type WorkerLoadOptions,
} from './protocol.ts';

/**
 * Loads a model in a worker that runs `@duobit/runtime-web/worker`, so that the page is never blocked. A worker can hold several
 * models. It stays the caller's: `dispose()` of a model leaves it running.
 * @param from a URL, relative to the page, or a file
 * @throws DuobitError what `loadModel` throws; `MODEL_OPTION` for what cannot be copied to a worker; `WORKER_LOST` when its script
 * cannot be loaded or it ends, which generating throws from then on
 */
export async function loadModelInWorker(
  worker: WorkerLike,
  from: string | URL | Blob,
  options: WorkerLoadOptions = {},
): Promise<WorkerModel> {
  const { signal, onProgress, onNotice, ...copied } = options;
  const { port1, port2 } = new MessageChannel();
  const link = new Link(worker, port1, { onProgress, onNotice });
  const stop = (): void => link.call({ kind: 'stop loading' });
  try {
    const message: LoadMessage = {
      duobit: 'load',
      from: from instanceof Blob ? from : resolveAddress(String(from)),
      options: copied,
    };
    worker.postMessage(message, [port2]);
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
    return createRemoteModel(link, await link.loaded);
  } catch (error) {
    link.close();
    if (!(error instanceof DOMException) || error.name !== 'DataCloneError') throw error;
    throw new DuobitError('MODEL_OPTION', `an option cannot be copied to a worker: ${error.message}`, {
      where: 'options',
      remedy: 'Leave out functions and open backends, or use loadModel',
      cause: error,
    });
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** A worker would resolve it against its own script. */
function resolveAddress(address: string): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  return base === undefined ? address : new URL(address, base).href;
}

function createRemoteModel(link: Link, facts: ModelFacts): WorkerModel {
  let disposing: Promise<void> | null = null;

  async function* generate(
    prompt: Prompt,
    { signal, grammars: _, ...options }: GenerateOptions,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    link.check();
    if (disposing) throw disposedError(facts.name);
    const { id, inbox } = link.openStream();
    const abort = (): void => link.call({ kind: 'abort', stream: id });
    const isAborted = signal?.aborted ?? false;
    link.call({ kind: 'generate', stream: id, prompt, options, isAborted });
    signal?.addEventListener('abort', abort);
    try {
      yield* takeAll(inbox, (count) => link.call({ kind: 'taken', stream: id, count }));
    } finally {
      signal?.removeEventListener('abort', abort);
      // Behind it the model is free, as it is on one thread when a loop was left.
      link.call({ kind: 'leave', stream: id });
      await inbox.ended;
    }
  }

  const model = {
    ...facts,
    generate(prompt: Prompt, options: GenerateOptions = {}): AsyncIterable<GenerationEvent> {
      checkGenerateOptions({ ...options, grammars: undefined }, facts);
      return generate(prompt, options);
    },
    dispose(): Promise<void> {
      disposing ??= link.dispose();
      return disposing;
    },
  };
  return { ...model, chat: createChatCompletions(model) };
}

/** @param onTaken told now and then how many events were taken since it was told last */
async function* takeAll(
  inbox: Inbox,
  onTaken: (count: number) => void,
): AsyncGenerator<GenerationEvent, void, undefined> {
  let count = 0;
  for (let event = await inbox.take(); event !== null; event = await inbox.take()) {
    yield event;
    if (++count < MOST_AHEAD / 2) continue;
    onTaken(count);
    count = 0;
  }
}
