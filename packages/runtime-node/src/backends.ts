// Backends by name, as command lines and configuration name them.
import { availableParallelism } from 'node:os';
import {
  type Backend,
  createReferenceBackend,
  createWasmBackend,
  KV_PRECISIONS,
  type KvPrecision,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { createCudaBackend, cudaSupport } from './cuda/backend.ts';
import { createNativeBackend, nativeSupport } from './native/backend.ts';
import { createNodeWebGpuBackend } from './webgpu/backend.ts';

/**
 * 'auto' takes 'cuda' where there is a GPU that it can use, else 'native' where its addon can be loaded and has kernels for the
 * processor, else 'wasm'.
 */
export type BackendName = 'auto' | 'cuda' | 'native' | 'webgpu' | 'wasm' | 'reference';

export const BACKEND_NAMES: readonly BackendName[] = [
  'auto',
  'cuda',
  'native',
  'webgpu',
  'wasm',
  'reference',
];

export interface BackendOptions {
  /** Threads to use; a backend may use fewer, see `Backend.threads`. Default: the backend's own. */
  readonly threads?: number | undefined;
  /** Precision of the KV cache. A backend that has f32 only uses that, see `Backend.kv`. Default: the backend's own. */
  readonly kv?: KvPrecision | undefined;
  /**
   * Told in one line when 'auto' does without the native backend. Default: writes it to stderr, once in a process.
   * Nothing is told when DUOBIT_NATIVE=off asked for it.
   */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * Opens a backend.
 * @throws DuobitError `BACKEND_UNKNOWN`, `BACKEND_OPTION`; what the backend throws when the machine cannot run it.
 */
export async function createBackend(
  name: BackendName = 'auto',
  options: BackendOptions = {},
): Promise<Backend> {
  const { threads, kv, onNotice = noticeOnce } = options;
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1))
    throw new DuobitError('BACKEND_OPTION', `threads is ${threads}; it must be a whole number, 1 or more`, {
      where: 'threads',
      remedy: 'Choose a number of threads',
    });
  if (kv !== undefined && !KV_PRECISIONS.includes(kv))
    throw new DuobitError('BACKEND_OPTION', `kv is "${String(kv)}"`, {
      where: 'kv',
      remedy: `Use one of: ${KV_PRECISIONS.join(', ')}`,
    });
  switch (name) {
    case 'auto': {
      // That there is no GPU is no news.
      if (cudaSupport().available) return createCudaBackend({ kv });
      const obstacle = whyNotNative();
      if (obstacle === null) return createNativeBackend({ threads, kv });
      if (process.env.DUOBIT_NATIVE !== 'off') onNotice(`note: ${obstacle}`);
      return createWasmBackend({ threads: threads ?? defaultThreads() });
    }
    case 'cuda':
      return createCudaBackend({ kv });
    case 'native':
      return createNativeBackend({ threads, kv });
    case 'webgpu':
      return createNodeWebGpuBackend({ kv });
    case 'wasm':
      return createWasmBackend({ threads: threads ?? defaultThreads() });
    case 'reference':
      return createReferenceBackend();
    default:
      throw new DuobitError('BACKEND_UNKNOWN', `there is no backend "${String(name)}"`, {
        where: 'backend',
        remedy: `Use one of: ${BACKEND_NAMES.join(', ')}`,
      });
  }
}

/** Null where 'native' is the faster choice. Its plain C++ runs everywhere, but at a fraction of the speed of wasm. */
function whyNotNative(): string | null {
  const support = nativeSupport();
  if (!support.available) return `the native backend is not available, using wasm (${support.reason})`;
  const asked = (process.env.DUOBIT_ISA ?? '') !== '';
  return asked || support.instructionSets.some((name) => name !== 'scalar')
    ? null
    : 'the native backend has only plain C++ for this processor, using wasm, which is faster';
}

/** As the native backend does: as many as the machine runs at once, at most 8. */
function defaultThreads(): number {
  return Math.min(8, availableParallelism());
}

let noticed = false;
function noticeOnce(line: string): void {
  if (!noticed) process.stderr.write(`${line}\n`);
  noticed = true;
}
