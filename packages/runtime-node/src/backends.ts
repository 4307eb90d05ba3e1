// Backends by name, as command lines and configuration name them.
import { type Backend, createReferenceBackend, createWasmBackend } from '@duobit/core';
import { DuobitError } from '@duobit/format';

/** 'auto' takes the fastest backend that works on this machine; so far that is 'wasm'. */
export type BackendName = 'auto' | 'wasm' | 'reference';

export const BACKEND_NAMES: readonly BackendName[] = ['auto', 'wasm', 'reference'];

export interface BackendOptions {
  /** Threads to use; a backend may use fewer, see `Backend.threads`. */
  readonly threads?: number | undefined;
}

/**
 * Opens a backend.
 * @throws DuobitError `BACKEND_UNKNOWN`, `BACKEND_OPTION`; what the backend throws when the machine cannot run it.
 */
export async function createBackend(
  name: BackendName = 'auto',
  options: BackendOptions = {},
): Promise<Backend> {
  const { threads } = options;
  if (threads !== undefined && (!Number.isInteger(threads) || threads < 1))
    throw new DuobitError('BACKEND_OPTION', `threads is ${threads}; it must be a whole number, 1 or more`, {
      where: 'threads',
      remedy: 'Choose a number of threads',
    });
  switch (name) {
    case 'auto':
    case 'wasm':
      return createWasmBackend(threads === undefined ? {} : { threads });
    case 'reference':
      return createReferenceBackend();
    default:
      throw new DuobitError('BACKEND_UNKNOWN', `there is no backend "${String(name)}"`, {
        where: 'backend',
        remedy: `Use one of: ${BACKEND_NAMES.join(', ')}`,
      });
  }
}
