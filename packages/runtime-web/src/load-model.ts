// Loads a model in a browser: from a URL by range requests, or from a file that the user picked; each tensor goes to the GPU as it
// comes, its chunks' hashes checked.
/// <reference types="@webgpu/types" />
import {
  type Backend,
  createChatCompletions,
  createModel,
  createWasmBackend,
  type KvPrecision,
  type ModelOptions,
} from '@duobit/core';
import {
  type ByteSource,
  createBlobSource,
  createHttpSource,
  type DuobitError,
  openContainer,
} from '@duobit/format';
import { createWebGpuBackend } from './backend.ts';
import { createRecoveringBackend } from './recovery.ts';
import type { WebModel } from './web-model.ts';

export interface LoadProgress {
  /** Bytes read so far, the header's included. */
  readonly bytes: number;
  /** Bytes of the file; a tied or unused part of it need not be read. */
  readonly totalBytes: number;
}

export interface LoadOptions extends Omit<ModelOptions, 'onLoad'> {
  /**
   * 'auto' (default) takes 'webgpu' where there is an adapter, else 'wasm', which blocks the thread that calls it: see
   * `loadModelInWorker`. When the GPU device is lost the model is loaded again and goes on where it was. An open backend stays the
   * caller's, and its losses too.
   */
  readonly backend?: 'auto' | 'webgpu' | 'wasm' | Backend | undefined;
  /** Precision of the webgpu backend's KV cache: 'f32' or 'f16' (default). */
  readonly kv?: KvPrecision | undefined;
  /** Threads of the wasm backend. Default: what the processor has, at most 8. */
  readonly threads?: number | undefined;
  /** Default: `navigator.gpu`. */
  readonly gpu?: GPU | undefined;
  /** Told after every read, until the model is loaded. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Told in one line why 'auto' does without WebGPU, and when the GPU device was lost. Default: nothing is said. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * `dispose()` of the model also closes what it was read from, and the backend where that was named.
 * @param from a URL, a File or Blob, or any source of bytes, which is then closed with the model
 * @throws DuobitError what opening the source, reading the container, the backend and `createModel` throw
 */
export async function loadModel(
  from: string | URL | Blob | ByteSource,
  options: LoadOptions = {},
): Promise<WebModel> {
  const { backend: wanted = 'auto', kv, threads, gpu, onProgress, onNotice, ...modelOptions } = options;
  const closers: (() => Promise<void>)[] = [];
  // A lost device has the model read again: then the caller's signal means nothing any more, and `dispose` ends the reading.
  const reading = new AbortController();
  const stop = (): void => reading.abort();
  const { signal } = reading;
  let isLoading = true;
  const closeAll = async (): Promise<void> => {
    stop();
    for (const close of closers.splice(0).reverse()) await close();
  };
  options.signal?.addEventListener('abort', stop);
  if (options.signal?.aborted) stop();
  try {
    const tell = onProgress && ((progress: LoadProgress) => isLoading && onProgress(progress));
    const source = countReads(await openSource(from, signal), tell);
    closers.push(() => source.close());
    const container = await openContainer(source);
    const backend =
      typeof wanted === 'object' ? wanted : await openBackend(wanted, { kv, threads, gpu, onNotice });
    if (typeof wanted !== 'object') closers.push(() => backend.dispose());
    const model = await createModel(container, backend, { ...modelOptions, signal });
    closers.push(model.dispose.bind(model));
    return Object.assign(model, { chat: createChatCompletions(model), dispose: closeAll });
  } catch (error) {
    await closeAll();
    throw error;
  } finally {
    isLoading = false;
    options.signal?.removeEventListener('abort', stop);
  }
}

async function openSource(from: string | URL | Blob | ByteSource, signal: AbortSignal): Promise<ByteSource> {
  if (typeof from === 'string' || from instanceof URL) return createHttpSource(String(from), { signal });
  return from instanceof Blob ? createBlobSource(from) : from;
}

async function openBackend(
  name: 'auto' | 'webgpu' | 'wasm',
  { kv, threads, gpu, onNotice }: Pick<LoadOptions, 'kv' | 'threads' | 'gpu' | 'onNotice'>,
): Promise<Backend> {
  const createWasm = () =>
    createWasmBackend({ threads: threads ?? Math.min(8, globalThis.navigator?.hardwareConcurrency ?? 1) });
  if (name === 'wasm') return createWasm();
  try {
    const open = () => createWebGpuBackend({ gpu: gpu ?? globalThis.navigator?.gpu, kv });
    return await createRecoveringBackend(open, { onNotice });
  } catch (error) {
    // Only what 'auto' is for: any other failure is the caller's to see.
    if (name === 'webgpu' || (error as DuobitError).code !== 'BACKEND_UNSUPPORTED') throw error;
    onNotice?.(`note: WebGPU is not available, using wasm (${(error as DuobitError).message})`);
    return createWasm();
  }
}

/** The same source, telling of every read. */
function countReads(
  source: ByteSource,
  onProgress: ((progress: LoadProgress) => unknown) | undefined,
): ByteSource {
  if (!onProgress) return source;
  let bytes = 0;
  const tell = (length: number): void => {
    bytes += length;
    onProgress({ bytes, totalBytes: source.size });
  };
  const { readInto, openBeside } = source;
  return {
    name: source.name,
    size: source.size,
    read: async (offset, length) => {
      const found = await source.read(offset, length);
      tell(length);
      return found;
    },
    ...(readInto && {
      readInto: async (offset: number, target: Uint8Array) => {
        await readInto.call(source, offset, target);
        tell(target.length);
      },
    }),
    ...(openBeside && { openBeside: openBeside.bind(source) }),
    close: () => source.close(),
  };
}
