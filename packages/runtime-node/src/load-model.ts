// Loads a .duo file in Node.js: file, container, backend and model in one call, closed together.
import { type Backend, createModel, type KvPrecision, type Model, type ModelOptions } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { type BackendName, createBackend } from './backends.ts';
import type { TfjsDevice } from './tfjs.ts';

export interface LoadOptions extends ModelOptions {
  /** A name, or an open backend, which then stays the caller's. Default 'auto'. */
  readonly backend?: BackendName | Backend | undefined;
  /** Threads of a backend given by name. */
  readonly threads?: number | undefined;
  /** Precision of the KV cache of a backend given by name, as for `createBackend`. */
  readonly kv?: KvPrecision | undefined;
  /** Which TensorFlow.js backend a 'tfjs' given by name runs on, as for `createBackend`. */
  readonly device?: TfjsDevice | 'auto' | undefined;
}

/**
 * Loads a model from a .duo file. `dispose()` of the model also closes the file, and the backend when it was named.
 * @throws DuobitError what opening the file, reading the container, `createBackend` and `createModel` throw.
 */
export async function loadModel(path: string, options: LoadOptions = {}): Promise<Model> {
  const { backend: wanted = 'auto', threads, kv, device, ...modelOptions } = options;
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const source = await createFileSource(path);
    closers.push(() => source.close());
    const container = await openContainer(source);
    const backend =
      typeof wanted === 'string' ? await createBackend(wanted, { threads, kv, device }) : wanted;
    if (typeof wanted === 'string') closers.push(() => backend.dispose());
    const model = await createModel(container, backend, modelOptions);
    closers.push(model.dispose.bind(model));
    return Object.assign(model, { dispose: closeAll });
  } catch (error) {
    await closeAll();
    throw error;
  }
}
