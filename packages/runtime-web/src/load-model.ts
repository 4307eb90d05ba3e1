// Loads a model in a browser: from a URL through the cache, or from a file that the user picked; each tensor goes to the GPU as it comes.
/// <reference types="@webgpu/types" />
import {
  type Backend,
  createChatCompletions,
  createModel,
  createWasmBackend,
  type Grammars,
  type KvPrecision,
  type ModelOptions,
} from '@duobit/core';
import type { DuobitError } from '@duobit/format';
import { createWebGpuBackend } from './backend.ts';
import type { LoadProgress } from './cache/chunk-download.ts';
import { type ModelLocation, type OpenModelOptions, openModelAhead } from './cache/open-model.ts';
import { createRecoveringBackend } from './recovery.ts';
import type { Tuning } from './tuning.ts';
import type { WebModel } from './web-model.ts';

/** Options of `loadModel`. */
export interface LoadOptions extends Omit<ModelOptions, 'onLoad'>, OpenModelOptions {
  /**
   * 'auto' (default) takes 'webgpu' where there is an adapter, else 'wasm', which blocks the thread that calls it: see
   * `loadModelInWorker`. When the GPU device is lost the model is loaded again and goes on where it was. An open backend stays the
   * caller's, and its losses too.
   */
  readonly backend?: 'auto' | 'webgpu' | 'wasm' | Backend | undefined;
  /** Precision of the webgpu backend's KV cache. Default 'f16'. */
  readonly kv?: KvPrecision | undefined;
  /** Threads of the wasm backend. Default: what the processor has, at most 8. */
  readonly threads?: number | undefined;
  /** Default: `navigator.gpu`. */
  readonly gpu?: GPU | undefined;
  /** For chat completions with `response_format`, or with a `tool_choice` that asks for a call. */
  readonly grammars?: Grammars | undefined;
  /** Told as bytes come. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /**
   * Told in one line why 'auto' does without WebGPU, that the GPU device was lost, why the model is not stored, that a damaged part
   * was fetched again, that the server was not asked. Default: nothing is said.
   */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * `dispose()` of the model also closes what it was read from, and the backend where that was named.
 * @throws DuobitError what opening the source, reading the container, the backend and `createModel` throw
 */
export async function loadModel(from: ModelLocation, options: LoadOptions = {}): Promise<WebModel> {
  const {
    backend: wanted = 'auto',
    kv,
    threads,
    gpu,
    cache,
    grammars,
    onProgress,
    onNotice,
    ...modelOptions
  } = options;
  const closers: (() => Promise<void>)[] = [];
  // A lost device has the model read again: then the caller's signal means nothing any more, and `dispose` ends the reading.
  const reading = new AbortController();
  const stop = (): void => reading.abort();
  const { signal } = reading;
  const closeAll = async (): Promise<void> => {
    stop();
    for (const close of closers.splice(0).reverse()) await close();
  };
  options.signal?.addEventListener('abort', stop);
  if (options.signal?.aborted) stop();
  try {
    const { container, finish } = await openModelAhead(from, { cache, onProgress, onNotice, signal });
    closers.push(() => container.close());
    const backend =
      typeof wanted === 'object' ? wanted : await openBackend(wanted, { kv, threads, gpu, onNotice });
    if (typeof wanted !== 'object') closers.push(() => backend.dispose());
    const model = await createModel(container, backend, { ...modelOptions, signal });
    closers.push(model.dispose.bind(model));
    await finish();
    return Object.assign(model, { chat: createChatCompletions(model, { grammars }), dispose: closeAll });
  } catch (error) {
    await closeAll();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', stop);
  }
}

async function openBackend(
  name: 'auto' | 'webgpu' | 'wasm',
  { kv, threads, gpu, onNotice }: Pick<LoadOptions, 'kv' | 'threads' | 'gpu' | 'onNotice'>,
): Promise<Backend> {
  const createWasm = () =>
    createWasmBackend({ threads: threads ?? Math.min(8, globalThis.navigator?.hardwareConcurrency ?? 1) });
  if (name === 'wasm') return createWasm();
  try {
    // The same for the device that comes after a lost one: other kernels may round otherwise.
    let tuning: Tuning | undefined;
    const open = async () => {
      const backend = await createWebGpuBackend({ gpu: gpu ?? globalThis.navigator?.gpu, kv, tuning });
      tuning = backend.tuning;
      return backend;
    };
    return await createRecoveringBackend(open, { onNotice });
  } catch (error) {
    // Only what 'auto' is for: any other failure is the caller's to see.
    if (name === 'webgpu' || (error as DuobitError).code !== 'BACKEND_UNSUPPORTED') throw error;
    onNotice?.(`note: WebGPU is not available, using wasm (${(error as DuobitError).message})`);
    return createWasm();
  }
}
