// Runs models where the page is told to: in a worker, so that it never waits for one, or on its own thread (`?thread=main`).
import type { KvPrecision } from '@duobit/core';
import type { Architecture } from '@duobit/format';
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

/**
 * A worker for each model, which ends with it: nothing is left of a model, and a worker that was lost is none that another one waits
 * for. The first is started with the page, so that a stored model can be loaded when the network is gone.
 */
function openInWorkers(): Engine['open'] {
  const start = (): Worker => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  let spare: Worker | null = start();
  spare.addEventListener('error', () => {
    spare = null;
  });
  return async (place, options) => {
    const worker = spare ?? start();
    spare = null;
    try {
      const model = await loadModelInWorker(worker, locate(place), options);
      const dispose = (): Promise<void> => model.dispose().finally(() => worker.terminate());
      return { ...model, dispose };
    } catch (error) {
      worker.terminate();
      throw error;
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
