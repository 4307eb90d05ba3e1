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
import { createNativeBackend, type NativeSupport, nativeSupport } from './native/backend.ts';
import { createNodeTfjsBackend, type TfjsDevice } from './tfjs.ts';
import { createNodeWebGpuBackend } from './webgpu/backend.ts';

/**
 * 'auto' takes 'cuda' where there is a GPU that it can use, else 'native' where its addon can be loaded and has kernels for the
 * processor, else 'wasm'. 'tfjs' needs the optional package @duobit/tfjs.
 */
export type BackendName = 'auto' | 'cuda' | 'native' | 'webgpu' | 'tfjs' | 'wasm' | 'reference';

/** Names that `createBackend` takes. */
export const BACKEND_NAMES: readonly BackendName[] = [
  'auto',
  'cuda',
  'native',
  'webgpu',
  'tfjs',
  'wasm',
  'reference',
];

/** Options of `createBackend`. */
export interface BackendOptions {
  /** Threads to use; a backend may use fewer, see `Backend.threads`. Default: the backend's own. */
  readonly threads?: number | undefined;
  /**
   * Precision of the KV cache. 'wasm' and 'reference' have f32 only and use that, see `Backend.kv`; 'tfjs' refuses others. Default:
   * the backend's own.
   */
  readonly kv?: KvPrecision | undefined;
  /** Which TensorFlow.js backend 'tfjs' runs on. Default: DUOBIT_TFJS_DEVICE from the environment, else the first that loads. */
  readonly device?: TfjsDevice | 'auto' | undefined;
  /**
   * Told in one line when 'auto' does without the native backend, and when 'tfjs' passes over a
   * device. Default: writes it to stderr, once in a process.
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
  const { threads, kv, device, onNotice = noticeOnce } = options;
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
      const { backend, obstacle } = chooseAutomatic(cudaSupport, nativeSupport);
      if (obstacle !== null && (isCudaAsked() || process.env.DUOBIT_NATIVE !== 'off'))
        onNotice(`note: ${obstacle}`);
      return createBackend(backend, { threads, kv });
    }
    case 'cuda':
      return createCudaBackend({ kv });
    case 'native':
      return createNativeBackend({ threads, kv });
    case 'webgpu':
      return createNodeWebGpuBackend({ kv });
    case 'tfjs':
      return createNodeTfjsBackend({ kv, device, onNotice: (line) => onNotice(`note: ${line}`) });
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

/** What 'auto' takes. */
export interface AutomaticChoice {
  readonly backend: 'cuda' | 'native' | 'wasm';
  /** Why it is 'wasm', or not the GPU for which the environment has settings; else null. That there is no GPU is no news. */
  readonly obstacle: string | null;
}

/** Decides for 'auto'. The second is only asked where there is no GPU. */
export function chooseAutomatic(
  cuda: () => { readonly available: boolean; readonly reason?: string | null | undefined },
  native: () => NativeSupport,
): AutomaticChoice {
  const { available, reason } = cuda();
  if (available) return { backend: 'cuda', obstacle: null };
  const notNative = whyNotNative(native());
  const backend = notNative === null ? 'native' : 'wasm';
  const notCuda = isCudaAsked() && reason ? `${reason}, using ${backend}` : null;
  const obstacles = [notCuda, notNative].filter((obstacle) => obstacle !== null);
  return { backend, obstacle: obstacles.length === 0 ? null : obstacles.join('; ') };
}

/** Whether the environment says how a GPU is to be used. */
function isCudaAsked(): boolean {
  return Object.entries(process.env).some(
    ([name, value]) => /^DUOBIT_CUDA/.test(name) && value !== '' && value?.toLowerCase() !== 'off',
  );
}

/** Null where 'native' is the faster choice. Its plain C++ runs everywhere, but at a fraction of the speed of wasm. */
function whyNotNative(support: NativeSupport): string | null {
  if (!support.available) return `the native backend is not available, using wasm (${support.reason})`;
  const asked = process.env.DUOBIT_ISA || null;
  if (asked !== null)
    return support.instructionSets.includes(asked)
      ? null
      : `the native backend has no "${asked}" for this processor, which DUOBIT_ISA asks for, using wasm`;
  return support.instructionSets.some((name) => name !== 'scalar')
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
