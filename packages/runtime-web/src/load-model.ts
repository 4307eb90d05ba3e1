// Loads a model in a browser: from a URL through the cache, or from a file that the user picked; each tensor goes to the GPU as it comes.
/// <reference types="@webgpu/types" />
import {
  type Backend,
  createModel,
  createWasmBackend,
  type KvPrecision,
  type Model,
  type ModelOptions,
} from '@duobit/core';
import type { DuobitError } from '@duobit/format';
import { createWebGpuBackend } from './backend.ts';
import type { LoadProgress } from './cache/chunk-download.ts';
import { type ModelLocation, type OpenModelOptions, openModelAhead } from './cache/open-model.ts';

export interface LoadOptions extends Omit<ModelOptions, 'onLoad'>, OpenModelOptions {
  /**
   * 'auto' (default) takes 'webgpu' where there is an adapter, else 'wasm', which blocks the thread that calls it. An open
   * backend stays the caller's.
   */
  readonly backend?: 'auto' | 'webgpu' | 'wasm' | Backend | undefined;
  /** Precision of the webgpu backend's KV cache: 'f32' or 'f16' (default). */
  readonly kv?: KvPrecision | undefined;
  /** Threads of the wasm backend. Default: what the processor has, at most 8. */
  readonly threads?: number | undefined;
  /** Default: `navigator.gpu`. */
  readonly gpu?: GPU | undefined;
  /** Told as bytes come. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /**
   * Told in one line why 'auto' does without WebGPU, why the model is not stored, that a damaged part was fetched again, that the
   * server was not asked. Default: nothing is said.
   */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * `dispose()` of the model also closes what it was read from, and the backend where that was named.
 * @throws DuobitError what opening the source, reading the container, the backend and `createModel` throw
 */
export async function loadModel(from: ModelLocation, options: LoadOptions = {}): Promise<Model> {
  const {
    backend: wanted = 'auto',
    kv,
    threads,
    gpu,
    cache,
    onProgress,
    onNotice,
    ...modelOptions
  } = options;
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const { signal } = options;
    const { container, finish } = await openModelAhead(from, { cache, onProgress, onNotice, signal });
    closers.push(() => container.close());
    const backend =
      typeof wanted === 'object' ? wanted : await openBackend(wanted, { kv, threads, gpu, onNotice });
    if (typeof wanted !== 'object') closers.push(() => backend.dispose());
    const model = await createModel(container, backend, modelOptions);
    closers.push(() => model.dispose());
    await finish();
    return bindDispose(model, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
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
    return await createWebGpuBackend({ gpu: gpu ?? globalThis.navigator?.gpu, kv });
  } catch (error) {
    // Only what 'auto' is for: any other failure is the caller's to see.
    if (name === 'webgpu' || (error as DuobitError).code !== 'BACKEND_UNSUPPORTED') throw error;
    onNotice?.(`note: WebGPU is not available, using wasm (${(error as DuobitError).message})`);
    return createWasm();
  }
}

/** The same model with another `dispose`. */
function bindDispose(model: Model, dispose: () => Promise<void>): Model {
  return {
    name: model.name,
    architecture: model.architecture,
    specialTokens: model.specialTokens,
    contextLength: model.contextLength,
    backendName: model.backendName,
    threads: model.threads,
    kv: model.kv,
    weightBytes: model.weightBytes,
    plan: model.plan,
    get tokenizer() {
      return model.tokenizer;
    },
    generate: (prompt, options) => model.generate(prompt, options),
    forward: (tokens, options) => model.forward(tokens, options),
    dispose,
  };
}
