// Loads a model in Node.js, from a file or an address: container, backend and model in one call, closed together.
import { type Backend, createModel, type KvPrecision, type Model, type ModelOptions } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { type BackendName, createBackend } from './backends.ts';
import { openModelSource } from './hub/open-model.ts';
import type { PullOptions } from './hub/pull.ts';
import type { TfjsDevice } from './tfjs.ts';

/** Of `PullOptions`: where downloaded models are kept, the environment, and who is told of a download. */
type DownloadOptions = Pick<PullOptions, 'cache' | 'env' | 'onProgress'>;

/** Options of `loadModel`. */
export interface LoadOptions extends ModelOptions, DownloadOptions {
  /** A name, or an open backend, which then stays the caller's. Default 'auto'. */
  readonly backend?: BackendName | Backend | undefined;
  /** Threads of a backend given by name. */
  readonly threads?: number | undefined;
  /** Precision of the KV cache of a backend given by name, as for `createBackend`. */
  readonly kv?: KvPrecision | undefined;
  /** Which TensorFlow.js backend a 'tfjs' given by name runs on, as for `createBackend`. */
  readonly device?: TfjsDevice | 'auto' | undefined;
  /**
   * Told in one line what there is to know of a download, and of the choice of a backend given by name. Default: of a download nothing;
   * the other goes to stderr, once in a process.
   */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * Loads a model. `dispose()` of it also closes its file, and the backend when that was named.
 * @param from the path of a .duo file, `hf:user/name[@revision][/file]`, or an http or https address. What has an address is
 *   downloaded once and stored; from then on no server is asked.
 * @throws DuobitError what `openModelSource`, reading the container, `createBackend` and `createModel` throw.
 */
export async function loadModel(from: string, options: LoadOptions = {}): Promise<Model> {
  const {
    backend: wanted = 'auto',
    threads,
    kv,
    device,
    cache,
    env,
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
    const source = await openModelSource(from, { cache, env, onProgress, onNotice, signal });
    closers.push(() => source.close());
    const container = await openContainer(source);
    // It has opened data files besides.
    closers.push(() => container.close());
    const backend =
      typeof wanted === 'string' ? await createBackend(wanted, { threads, kv, device, onNotice }) : wanted;
    if (typeof wanted === 'string') closers.push(() => backend.dispose());
    const model = await createModel(container, backend, modelOptions);
    closers.push(model.dispose.bind(model));
    return Object.assign(model, { dispose: closeAll });
  } catch (error) {
    await closeAll();
    throw error;
  }
}
