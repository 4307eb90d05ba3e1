// The tfjs backend in Node.js, from the optional package @duobit/tfjs: TensorFlow.js is large, so nothing else here needs it.
import type { Backend, KvPrecision } from '@duobit/core';
import { DuobitError } from '@duobit/format';

/** A TensorFlow.js backend that can be asked for. */
export type TfjsDevice = 'tensorflow' | 'webgpu' | 'wasm' | 'cpu';

/** Options of `createNodeTfjsBackend`. */
export interface NodeTfjsOptions {
  /** Default: DUOBIT_TFJS_DEVICE from the environment, else 'auto', the first that loads. */
  readonly device?: TfjsDevice | 'auto' | undefined;
  /** Precision of the KV cache: 'f32', the only one. */
  readonly kv?: KvPrecision | undefined;
  /** One line about devices that 'auto' passed over, and why. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * Opens the backend on TensorFlow.js, of which a process has one backend at a time.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without the package; `BACKEND_OPTION`; `ENGINE_ABSENT` when TensorFlow.js cannot be
 * opened on the device, or on any
 */
export async function createNodeTfjsBackend(options: NodeTfjsOptions = {}): Promise<Backend> {
  const { openTfjsBackend } = await loadTfjs();
  const device = options.device ?? ((process.env.DUOBIT_TFJS_DEVICE || 'auto') as TfjsDevice | 'auto');
  return openTfjsBackend({ ...options, device });
}

async function loadTfjs(): Promise<typeof import('@duobit/tfjs')> {
  try {
    return await import('@duobit/tfjs');
  } catch (error) {
    const reason = String(error instanceof Error ? error.message : error).split('\n')[0];
    throw new DuobitError('BACKEND_UNSUPPORTED', `the package "@duobit/tfjs" cannot be loaded: ${reason}`, {
      where: 'tfjs backend',
      remedy: 'Install it (npm install @duobit/tfjs), or use another backend',
    });
  }
}
