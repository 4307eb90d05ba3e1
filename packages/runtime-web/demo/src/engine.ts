// Runs models where the page is told to: in a worker, so that it never waits for one, or on its own thread (`?thread=main`).
import type { KvPrecision } from '@duobit/core';
import { type Architecture, DuobitError } from '@duobit/format';
import { loadModelInWorker, type WorkerLoadOptions, type WorkerModel } from '@duobit/runtime-web';
import { locate, type ModelPlace } from './start.ts';

/** How models are opened, for as long as the page is there. */
export interface Engine {
  readonly thread: 'worker' | 'main';
  /** @throws DuobitError what `loadModel` throws */
  open(place: ModelPlace, options: WorkerLoadOptions): Promise<WorkerModel>;
}

export function createEngine(thread: 'worker' | 'main'): Engine {
  return { thread, open: thread === 'worker' ? openInWorkers() : openHere };
}

async function openHere(place: ModelPlace, options: WorkerLoadOptions): Promise<WorkerModel> {
  const { loadModel } = await import('./here.ts');
  return loadModel(locate(place), options);
}

/** One worker for all models, and another where that one was lost. */
function openInWorkers(): Engine['open'] {
  let worker: Worker | null = null;
  return async function open(place, options): Promise<WorkerModel> {
    const isFresh = worker === null;
    worker ??= new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    try {
      return await loadModelInWorker(worker, locate(place), options);
    } catch (error) {
      if (!(error instanceof DuobitError) || error.code !== 'WORKER_LOST') throw error;
      worker?.terminate();
      worker = null;
      if (isFresh) throw error;
      // It may have been lost long before, with another model.
      return open(place, options);
    }
  };
}

/** Bytes of `values` values of one head in a cache, docs/numerics.md "KV cache". */
const HEAD_BYTES: Readonly<Record<KvPrecision, (values: number) => number>> = {
  f32: (values) => 4 * values,
  f16: (values) => 2 * values,
  int8: (values) => values + 4 * Math.ceil(values / 32),
  int4: (values) => Math.ceil(values / 2) + 4 * Math.ceil(values / 32),
};

/** Bytes of keys and values of a whole context. */
export function kvCacheBytes(architecture: Architecture, contextLength: number, kv: KvPrecision): number {
  const { blockCount, kvHeadCount, headSize } = architecture;
  return 2 * blockCount * kvHeadCount * contextLength * HEAD_BYTES[kv](headSize);
}
