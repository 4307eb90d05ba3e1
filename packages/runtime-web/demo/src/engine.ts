// Runs models where the page is told to: in a worker, so that it never waits for one, or on its own thread (`?thread=main`).
import type { KvPrecision } from '@duobit/core';
import type { Architecture } from '@duobit/format';
import { type LoadOptions, loadModel } from '@duobit/runtime-web';
import type { ModelPlace } from './start.ts';

export type OpenModel = Awaited<ReturnType<typeof loadModel>>;

/** How models are opened, for as long as the page is there. */
export interface Engine {
  readonly thread: 'worker' | 'main';
  open(place: ModelPlace, options: LoadOptions): Promise<OpenModel>;
}

export function createEngine(): Engine {
  return {
    thread: 'main',
    open: (place, options) => loadModel(place.kind === 'url' ? place.url : place.file, options),
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
