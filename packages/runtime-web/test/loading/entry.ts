/// <reference types="@webgpu/types" />
// Runs in the browser, on a page's own thread and in a worker: loads models, looks at the cache, and says what happened.
import { DuobitError } from '@duobit/format';
import { type LoadOptions, type LoadProgress, loadModel, openModelCache } from '@duobit/runtime-web';

export interface LoadReport {
  readonly notices: readonly string[];
  readonly progress: LoadProgress | null;
  /** Of three tokens, the first few; null where loading failed. */
  readonly logits: readonly number[] | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly milliseconds: number;
}

export interface LoadRequest extends Pick<LoadOptions, 'cache' | 'backend'> {
  readonly url: string;
  /** Aborts when so many bytes are here. */
  readonly abortAt?: number;
}

let aborting = new AbortController();

export const actions = {
  async load({ url, abortAt, ...options }: LoadRequest): Promise<LoadReport> {
    const notices: string[] = [];
    let progress: LoadProgress | null = null;
    aborting = new AbortController();
    const start = performance.now();
    const report = (rest: Pick<LoadReport, 'logits' | 'error'>): LoadReport => ({
      notices,
      progress,
      milliseconds: performance.now() - start,
      ...rest,
    });
    try {
      const model = await loadModel(url, {
        backend: 'wasm',
        threads: 1,
        contextLength: 32,
        signal: aborting.signal,
        onNotice: (line) => notices.push(line),
        onProgress: (latest) => {
          progress = latest;
          if (abortAt !== undefined && latest.bytes >= abortAt) aborting.abort();
        },
        ...options,
      });
      const { milliseconds } = report({ logits: null, error: null });
      const logits = [...(await model.forward([1, 2, 3])).slice(0, 8)];
      await model.dispose();
      return { ...report({ logits, error: null }), milliseconds };
    } catch (error) {
      if (!(error instanceof DuobitError)) throw error;
      return report({ logits: null, error: { code: error.code, message: error.message } });
    }
  },

  async list() {
    const models = await (await openModelCache()).list();
    return models.map((model) => ({ ...model, lastUsed: model.lastUsed.getTime() }));
  },

  async remove(id: string): Promise<string | null> {
    try {
      await (await openModelCache()).remove(id);
      return null;
    } catch (error) {
      return (error as DuobitError).code;
    }
  },

  async usage() {
    return (await openModelCache()).usage();
  },

  async persist() {
    return (await openModelCache()).persist();
  },

  /**
   * From now on, with each write into GPU memory, sees how much JavaScript holds, array buffers included, garbage not. Needs a browser
   * with `--js-flags=--expose-gc` and `--enable-precise-memory-info`.
   */
  async watchMemory(): Promise<void> {
    const { gc, performance } = globalThis as unknown as {
      gc(): void;
      performance: { memory: { usedJSHeapSize: number } };
    };
    gc();
    const before = performance.memory.usedJSHeapSize;
    const { prototype } = GPUQueue;
    const { writeBuffer } = prototype;
    prototype.writeBuffer = function (this: GPUQueue, ...given: Parameters<GPUQueue['writeBuffer']>) {
      gc();
      peak = Math.max(peak, performance.memory.usedJSHeapSize - before);
      return writeBuffer.apply(this, given);
    } as GPUQueue['writeBuffer'];
  },

  async peakMemory(): Promise<number> {
    return peak;
  },

  /** Names and sizes of all files of the origin private file system. */
  async files(): Promise<Record<string, number>> {
    const sizes: Record<string, number> = {};
    const walk = async (folder: FileSystemDirectoryHandle, path: string): Promise<void> => {
      for await (const [name, handle] of folder.entries()) {
        if (handle.kind === 'directory') await walk(handle as FileSystemDirectoryHandle, `${path}${name}/`);
        else sizes[path + name] = (await (handle as FileSystemFileHandle).getFile()).size;
      }
    };
    await walk(await navigator.storage.getDirectory(), '');
    return sizes;
  },

  /** Replaces a file of the origin private file system by zeros, of another length where one is given. */
  async damage(path: string, length?: number): Promise<void> {
    const parts = path.split('/');
    let folder = await navigator.storage.getDirectory();
    for (const part of parts.slice(0, -1)) folder = await folder.getDirectoryHandle(part);
    const file = await folder.getFileHandle(parts.at(-1)!);
    const { size } = await file.getFile();
    const writable = await file.createWritable();
    await writable.write(new Uint8Array(length ?? size));
    await writable.close();
  },
};

/** What `watchMemory` found. */
let peak = 0;

export type Actions = typeof actions;

Object.assign(globalThis, { actions });
if (!('document' in globalThis)) {
  addEventListener('message', async ({ data, ports }) => {
    const { name, argument } = data as { name: keyof Actions; argument: never };
    ports[0]!.postMessage(await actions[name](argument));
  });
}
